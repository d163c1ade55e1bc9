"""A model directory becomes a forward function from arrays to arrays, proven on its golden inputs.

Only this module, `architectures` and `train` import torch.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file

from model_server.architectures import Built, build
from model_server.artefact.card import CARD, GOLDEN, WEIGHTS, Card, read_card, specs
from model_server.artefact.digest import content_of, parse_digest
from model_server.errors import ModelError, Reason
from model_server.protocol.datatypes import FREE, Array, Arrays, Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Forward: TypeAlias = Callable[[Arrays], Arrays]

# A golden output was computed by another torch on another processor: sums in another order differ in the last
# digits of FP32 (measured: below 1e-6 relative for an mlp). A wrong weight or layer differs in the first ones.
GOLDEN_RTOL = 1e-3
GOLDEN_ATOL = 1e-4


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


def load(directory: Path, digest_file: Path | None = None) -> Model:
    """Check the digest and load the weights; what is loaded must be proven before it is served."""
    use_one_thread()
    if not directory.is_dir():
        raise ModelError(Reason.NOT_FOUND, f"{directory} is not a directory; name one that holds {CARD} and {WEIGHTS}.")
    digest = _checked_digest(directory, digest_file)
    card = read_card(directory)
    signature = Signature(specs(card.inputs), specs(card.outputs))
    forward = _forward(_built(card, directory / WEIGHTS), signature)
    return Model(card, signature, digest, forward, partial(_prove, forward, signature, directory / GOLDEN))


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


def _built(card: Card, path: Path) -> Built:
    built = build(card)
    module = built.module
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise ModelError(Reason.INVALID, f"{path} is missing.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(Reason.INVALID, f"{path} is not a safetensors file: {error}.") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wanted != given:
        differing = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
        first = differing[0]
        message = (
            f"{path} does not fit the architecture {card.architecture}: {first} has the shape"
            f" {_shape(given.get(first))} where {_shape(wanted.get(first))} is needed ({len(differing)} differ)."
        )
        raise ModelError(Reason.INVALID, message)
    wanted_types = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    for name, tensor in weights.items():
        if tensor.is_floating_point() != wanted_types[name].is_floating_point:
            kind = "floating-point numbers" if wanted_types[name].is_floating_point else "integers"
            raise ModelError(Reason.INVALID, f"{path}: {name} is of {tensor.dtype}; it has to be of {kind}.")
    # assign: the module uses the file's pages as they are mapped, instead of a copy
    module.load_state_dict({name: tensor.to(wanted_types[name]) for name, tensor in weights.items()}, assign=True)
    module.eval().requires_grad_(requires_grad=False)
    return built


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(list(shape))


def _forward(built: Built, signature: Signature) -> Forward:
    module = built.module
    in_types = [torch.from_numpy(np.empty(0, spec.datatype.dtype)).dtype for spec in signature.inputs]
    if not built.keeps_datatypes:  # clients may send pixels as bytes
        in_types = [torch.float32] * len(in_types)
    out_types = [torch.from_numpy(np.empty(0, spec.datatype.dtype)).dtype for spec in signature.outputs]

    @torch.inference_mode()
    def forward(inputs: Arrays) -> Arrays:
        answer = module(
            *(torch.from_numpy(_owned(array)).to(dtype) for array, dtype in zip(inputs, in_types, strict=True))
        )
        tensors = answer if isinstance(answer, tuple) else (answer,)
        return tuple(tensor.to(dtype).numpy() for tensor, dtype in zip(tensors, out_types, strict=True))

    return forward


def _owned(array: Array) -> Array:
    """Copy what lies in a request's body: torch wants its memory aligned and its own to write to."""
    return np.require(array, requirements=("C", "A", "W"))


def _prove(forward: Forward, signature: Signature, golden: Path) -> None:
    """Run the model once: on its golden inputs, or on zeros."""
    if golden.exists():
        _hold_golden(forward, signature, golden)
    else:
        _warm_up(forward, signature)


def _hold_golden(forward: Forward, signature: Signature, path: Path) -> None:
    try:
        with np.load(path, allow_pickle=False) as golden:
            inputs = tuple(golden[f"inputs.{spec.name}"] for spec in signature.inputs)
            expected = tuple(golden[f"outputs.{spec.name}"] for spec in signature.outputs)
    except KeyError as error:
        names = "inputs.NAME and outputs.NAME for each input and output of model.json"
        raise ModelError(Reason.INVALID, f"{path} lacks an array ({error.args[0]}); it holds {names}.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(Reason.INVALID, f"{path} cannot be read: {error}.") from error
    for spec, array in zip(signature.inputs, inputs, strict=True):
        if array.dtype != spec.datatype.dtype or not spec.admits(array.shape):
            message = f"{path}: inputs.{spec.name} is {array.dtype}{list(array.shape)}, unlike model.json's input."
            raise ModelError(Reason.INVALID, message)
    answers = _run_once(forward, signature, inputs)
    for spec, answer, right in zip(signature.outputs, answers, expected, strict=True):
        if answer.shape != right.shape:
            message = (
                f"{path}: outputs.{spec.name} has the shape {list(right.shape)}; the model gives {list(answer.shape)}."
            )
            raise ModelError(Reason.INVALID, message)
        if not np.allclose(answer, right, rtol=GOLDEN_RTOL, atol=GOLDEN_ATOL, equal_nan=True):
            worst = float(np.max(np.abs(answer.astype(np.float64) - right.astype(np.float64))))
            message = f"The model does not give its golden outputs: {spec.name} is off by up to {worst:.3g} ({path})."
            raise ModelError(Reason.INVALID, message)


def _warm_up(forward: Forward, signature: Signature) -> None:
    _run_once(forward, signature, tuple(_simplest(spec) for spec in signature.inputs))


def _run_once(forward: Forward, signature: Signature, inputs: Arrays) -> Arrays:
    try:
        answers = forward(inputs)
    except Exception as error:
        raise ModelError(Reason.INVALID, f"The model fails on its first input: {error}.") from error
    for spec, answer in zip(signature.outputs, answers, strict=True):
        if not spec.admits(answer.shape) or len(answer) != len(inputs[0]):
            message = f"Output {spec.name!r} has the shape {list(answer.shape)}; model.json says {list(spec.shape)}."
            raise ModelError(Reason.INVALID, message)
    return answers


def _simplest(spec: TensorSpec) -> Array:
    """Zeros; but true, because a boolean is mostly a mask, and a mask that leaves nothing leaves nothing to compute."""
    shape = [1 if size == FREE else size for size in spec.shape]
    return np.full(shape, fill_value=spec.datatype.name == "BOOL", dtype=spec.datatype.dtype)
