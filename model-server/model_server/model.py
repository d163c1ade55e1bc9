"""A model directory becomes a forward function from arrays to arrays, proven on its golden inputs.

Only this module, `architectures` and `train` import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from model_server.artefact.card import CARD, GOLDEN, Card, Trust, read_card, specs
from model_server.artefact.digest import content_of, parse_digest
from model_server.errors import ModelError, Reason
from model_server.formats import build_module, torch_type
from model_server.golden import hold_golden, read_golden, simplest_inputs
from model_server.program.run import ProgramModule
from model_server.protocol.datatypes import Array, Arrays, Signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.architectures import Built

    Forward: TypeAlias = Callable[[Arrays], Arrays]


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model."""

    card: Card
    signature: Signature
    digest: str
    forward: Forward
    prove: Callable[[], None]  # raises ModelError unless the model gives its golden outputs

    @property
    def platform(self) -> str:
        """Name what runs it, in the protocol's `framework_format` way."""
        return f"pytorch_{self.card.format}"

    @property
    def version(self) -> str:
        """Name the content itself, so that an answer says which weights gave it."""
        return self.digest.removeprefix("sha256:")[:12]


def load(directory: Path, digest_file: Path | None = None, trust: Trust = Trust.DATA) -> Model:
    """Check the digest and load the model; what is loaded must be proven before it is served."""
    use_one_thread()
    if not directory.is_dir():
        raise ModelError(Reason.NOT_FOUND, f"{directory} is not a directory; name one that holds {CARD}.")
    digest = _checked_digest(directory, digest_file)
    card = read_card(directory)
    signature = Signature(specs(card.inputs), specs(card.outputs))
    built = build_module(card, directory, trust)
    forward = _forward(built, signature)
    return Model(card, signature, digest, forward, partial(_prove, built, forward, signature, directory / GOLDEN))


def use_one_thread() -> None:
    """Compute in the calling thread only: more threads than free CPUs cost up to 8x (measured, one busy neighbour)."""
    torch.set_num_threads(1)


def _checked_digest(directory: Path, digest_file: Path | None) -> str:
    digest = content_of(directory).digest
    if digest_file is not None:
        try:
            expected = parse_digest(digest_file.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(Reason.INVALID, f"The digest file {digest_file} cannot be read: {error}.") from error
        if digest != expected:
            message = f"{directory} has the digest {digest}, but {digest_file} says {expected}."
            raise ModelError(Reason.DIGEST_MISMATCH, message)
    return digest


def _forward(built: Built, signature: Signature) -> Forward:
    module = built.module
    in_types = [torch_type(spec.datatype.name) for spec in signature.inputs]
    if not built.keeps_datatypes:  # clients may send pixels as bytes
        in_types = [torch.float32] * len(in_types)
    out_types = [torch_type(spec.datatype.name) for spec in signature.outputs]

    @torch.inference_mode()
    def forward(inputs: Arrays) -> Arrays:
        answer = module(
            *(torch.from_numpy(_owned(array)).to(dtype) for array, dtype in zip(inputs, in_types, strict=True))
        )
        tensors = (answer,) if isinstance(answer, torch.Tensor) else answer
        if len(tensors) != len(out_types):
            message = f"it gives {len(tensors)} outputs, model.json names {len(out_types)}"
            raise ValueError(message)
        return tuple(tensor.to(dtype).numpy() for tensor, dtype in zip(tensors, out_types, strict=True))

    return forward


def _owned(array: Array) -> Array:
    """Copy what lies in a request's body: torch wants its memory aligned and its own to write to."""
    return np.require(array, requirements=("C", "A", "W"))


def _prove(built: Built, forward: Forward, signature: Signature, path: Path) -> None:
    """Run the model once: on its golden inputs, or on the simplest."""
    golden = read_golden(path, signature)
    inputs = golden.inputs if golden else simplest_inputs(signature)
    answers = _run_once(forward, signature, inputs)
    if isinstance(built.module, ProgramModule):
        built.module.hold_still(*map(torch.from_numpy, map(_owned, inputs)))
    if golden:
        hold_golden(golden, answers, signature)


def _run_once(forward: Forward, signature: Signature, inputs: Arrays) -> Arrays:
    try:
        answers = forward(inputs)
    except Exception as error:
        raise ModelError(Reason.INVALID, f"The model fails on its first input: {_sentence(error)}") from error
    for spec, answer in zip(signature.outputs, answers, strict=True):
        if not spec.admits(answer.shape) or len(answer) != len(inputs[0]):
            message = f"Output {spec.name!r} has the shape {list(answer.shape)}; model.json says {list(spec.shape)}."
            raise ModelError(Reason.INVALID, message)
    return answers


def _sentence(error: Exception) -> str:
    """Take the first line: torch tells the user's stack after it."""
    return f"{str(error).strip().partition(chr(10))[0].rstrip('.')}."
