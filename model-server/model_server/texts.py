"""Texts become tokens for the model behind a tokenizer, those of about the same length together.

All texts of a batch wait in one bucket whatever their lengths, and are sorted here, where their tokens are known: a
batch of 64 then runs in a few passes that compute little more than what is real.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from model_server.errors import ModelError, Reason, RequestError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from model_server.artefact.card import CardTokenizer
    from model_server.protocol.datatypes import Array, Arrays

PASS_TOKENS = 64
"""What one more pass costs, in tokens that one would compute for nothing instead."""


def read_tokenizer(directory: Path, wanted: CardTokenizer) -> Tokenizer:
    """Read the tokenizer, which is data: a vocabulary and rules."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # no threads: processes are forked from this one
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  # only models of texts need it
    except ImportError:
        message = "A model of texts needs tokenizers, which this image does not have; install requirements-text.txt."
        raise ModelError(Reason.INVALID, message) from None
    path = directory / wanted.file
    if not path.is_file():
        raise ModelError(Reason.INVALID, f"{path} is missing; model.json names it as the tokenizer.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise ModelError(Reason.INVALID, f"{path} is not a tokenizer: {first_line(error)}.") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(wanted.max_length)
    return tokenizer


def forward_texts(tokenizer: Tokenizer, forward: Callable[[Arrays], Arrays], inputs: Arrays) -> Arrays:
    """Answer for texts by a model that takes tokens, and which of them are real."""
    (texts,) = inputs
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts.tolist())]
    if not all(tokens):
        raise RequestError(400, f"Text {tokens.index([])} of the request has no tokens; write something.")
    answers = [(rows, forward(_padded([tokens[row] for row in rows]))) for rows in passes(list(map(len, tokens)))]
    outputs = tuple(np.empty((len(texts), *output.shape[1:]), output.dtype) for output in answers[0][1])
    for rows, answer in answers:
        for output, part in zip(outputs, answer, strict=True):
            output[rows] = part
    return outputs


def passes(lengths: Sequence[int]) -> list[list[int]]:
    """Split rows of such lengths among passes: the longest first, and a new one where padding would cost more."""
    found: list[list[int]] = []
    longest = padding = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        padding += longest - lengths[row]
        if not found or padding > PASS_TOKENS:
            found.append([])
            longest, padding = lengths[row], 0
        found[-1].append(row)
    return found


def _padded(tokens: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), np.int64)
    for row, given in enumerate(tokens):
        ids[row, : len(given)] = given
    mask = np.arange(longest) < np.array(list(map(len, tokens)))[:, np.newaxis]
    return ids, mask
