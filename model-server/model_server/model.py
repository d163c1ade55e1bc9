"""A model directory becomes a forward function from arrays to arrays, proven on its golden inputs.

Only what this module calls, and `train`, import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from model_server.allocator import keep_memory
from model_server.artefact.card import CARD, GOLDEN, Card, Trust, read_card, specs
from model_server.artefact.digest import content_of, parse_digest
from model_server.errors import ModelError, Reason, first_line
from model_server.formats import build_module, torch_type
from model_server.golden import Golden, hold_golden, read_golden, simplest_inputs
from model_server.precision import Choice, Precision, choose
from model_server.program.run import ProgramModule
from model_server.protocol.datatypes import Array, Arrays, Signature
from model_server.reference import read_reference
from model_server.texts import forward_texts, read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tokenizers import Tokenizer

    from model_server.architectures import Built
    from model_server.attribution import Explainer
    from model_server.reference import InputReference

    Forward: TypeAlias = Callable[[Arrays], Arrays]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that has proven itself."""

    card: Card
    signature: Signature
    digest: str
    forward: Forward
    choice: Choice
    prove: Callable[[], Arrays]
    """Raises ModelError unless the model still gives its golden outputs: in another process, for example."""
    explainer: Explainer | None = None
    reference: tuple[InputReference, ...] = ()
    """What its inputs were like where it learned."""

    @property
    def platform(self) -> str:
        """Name what runs it, in the protocol's `framework_format` way."""
        return f"pytorch_{self.card.format}"

    @property
    def version(self) -> str:
        """Name the content itself, so that an answer says which weights gave it."""
        return self.digest.removeprefix("sha256:")[:12]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is read, but not proven."""

    directory: Path
    card: Card
    digest: str
    trust: Trust
    wanted: Precision
    built: Built
    tokenizer: Tokenizer | None

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return Signature(specs(self.card.inputs), specs(self.card.outputs))

    def proven(self) -> Model:
        """Run it on its golden inputs, or on the simplest, and choose its precision; raises ModelError if it fails."""
        signature = self.signature
        golden = read_golden(self.directory / GOLDEN, signature)
        inputs = golden.inputs if golden else simplest_inputs(signature)
        full = self.forward_of(self.built)
        answers = _prove(full, signature, inputs, golden, Precision.FLOAT32)
        if isinstance(self.built.module, ProgramModule):
            self.built.module.hold_still(*map(torch.from_numpy, map(_owned, inputs)))
        forward, choice = choose(
            self.wanted, full, self._reduced, inputs, golden.outputs if golden else None, answers=answers
        )
        prove = partial(_prove, forward, signature, inputs, golden, choice.precision)
        reference = read_reference(self.directory, signature.inputs)
        return Model(self.card, signature, self.digest, forward, choice, prove, reference=reference)

    def explainer(self, max_rows: int) -> Explainer:
        """Read the model once more, in FP32: another thread runs it, which differentiates it where it can."""
        from model_server.attribution import Explainer  # noqa: PLC0415  # captum is there where it is asked for

        if self.tokenizer is not None:
            message = "--explain explains numbers; this model takes texts. Serve it without."
            raise ModelError(Reason.INVALID, message)
        built, signature = build_module(self.card, self.directory, self.trust), self.signature
        return Explainer(built.module, _input_types(built, signature), signature, max_rows)

    def forward_of(self, built: Built, numbers: torch.dtype = torch.float32) -> Forward:
        """Return what the server calls: arrays in, arrays out."""
        card = self.card.behind_tokenizer
        forward = forward_of(built, Signature(specs(card.inputs), specs(card.outputs)), numbers)
        return forward if self.tokenizer is None else partial(forward_texts, self.tokenizer, forward)

    def _reduced(self) -> Forward:
        """Read the model once more, in bfloat16: converting what is loaded would lose what it falls back to."""
        if self.card.format == "python":
            message = "a handler computes in what it likes"
            raise ValueError(message)
        built = build_module(self.card, self.directory, self.trust)
        return self.forward_of(built._replace(module=built.module.to(torch.bfloat16)), torch.bfloat16)


def load(
    directory: Path,
    digest_file: Path | None = None,
    trust: Trust = Trust.DATA,
    precision: Precision = Precision.AUTO,
) -> Model:
    """Read a model directory, and prove what it holds."""
    return read(directory, digest_file, trust, precision).proven()


def read(directory: Path, digest_file: Path | None, trust: Trust, precision: Precision) -> Loaded:
    """Check the digest and read the model."""
    set_up_torch()
    if not directory.is_dir():
        raise ModelError(Reason.NOT_FOUND, f"{directory} is not a directory; name one that holds {CARD}.")
    digest = _checked_digest(directory, digest_file)
    card = read_card(directory)
    tokenizer = read_tokenizer(directory, card.tokenizer) if card.tokenizer else None
    return Loaded(directory, card, digest, trust, precision, build_module(card, directory, trust), tokenizer)


def set_up_torch() -> None:
    """Compute in the calling thread only, and in memory that is kept.

    More threads than free CPUs cost up to 8x (measured, one busy neighbour).
    """
    torch.set_num_threads(1)
    keep_memory()


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


def forward_of(built: Built, signature: Signature, numbers: torch.dtype = torch.float32) -> Forward:
    """Return a function of arrays that computes in `numbers`."""
    module = built.module
    in_types = _input_types(built, signature, numbers)
    out_types = [torch_type(spec.datatype.name) for spec in signature.outputs]

    @torch.inference_mode()
    def forward(inputs: Arrays) -> Arrays:
        answer = module(
            *(_in(dtype, torch.from_numpy(_owned(array))) for array, dtype in zip(inputs, in_types, strict=True))
        )
        tensors = (answer,) if isinstance(answer, torch.Tensor) else answer
        if len(tensors) != len(out_types):
            message = f"it gives {len(tensors)} outputs, model.json names {len(out_types)}"
            raise ValueError(message)
        return tuple(_in(dtype, tensor).numpy() for tensor, dtype in zip(tensors, out_types, strict=True))

    return forward


def _input_types(built: Built, signature: Signature, numbers: torch.dtype = torch.float32) -> list[torch.dtype]:
    in_types = [torch_type(spec.datatype.name) for spec in signature.inputs]
    if not built.keeps_datatypes:  # clients may send pixels as bytes
        return [numbers] * len(in_types)
    if numbers is not torch.float32:
        return [numbers if dtype.is_floating_point else dtype for dtype in in_types]
    return in_types


def _owned(array: Array) -> Array:
    """Copy what lies in a request's body: torch wants its memory aligned and its own to write to."""
    return array if array.flags.carray else np.require(array, requirements=("C", "A", "W"))


def _in(dtype: torch.dtype, tensor: torch.Tensor) -> torch.Tensor:
    """Convert what needs it: `to` takes 0.8 µs to find that nothing does (measured)."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def _prove(
    forward: Forward, signature: Signature, inputs: Arrays, golden: Golden | None, precision: Precision
) -> Arrays:
    try:
        answers = forward(inputs)
    except Exception as error:
        raise ModelError(Reason.INVALID, f"The model fails on its first input: {first_line(error)}.") from error
    for spec, answer in zip(signature.outputs, answers, strict=True):
        if not spec.admits(answer.shape) or len(answer) != len(inputs[0]):
            message = f"Output {spec.name!r} has the shape {list(answer.shape)}; model.json says {list(spec.shape)}."
            raise ModelError(Reason.INVALID, message)
    if golden:
        hold_golden(golden, answers, signature, precision)
    return answers
