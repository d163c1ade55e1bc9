"""`golden.npz`: inputs whose outputs the model's maker has seen. A server that gives others is not ready."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.errors import ModelError, Reason
from model_server.precision import BFLOAT16_TOLERANCE, Precision, largest_error
from model_server.protocol.datatypes import BYTES, FREE, Array, Arrays, Signature, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

# A golden output was computed by another torch on another processor: sums in another order differ in the last
# digits of FP32 (measured: below 1e-6 relative for an mlp). A wrong weight or layer differs in the first ones.
RTOL = 1e-3
ATOL = 1e-4


@dataclass(frozen=True, slots=True)
class Golden:
    """The file."""

    path: Path
    inputs: Arrays
    outputs: Arrays


def read_golden(path: Path, signature: Signature) -> Golden | None:
    """Read the file, if there is one, and hold it against the model's signature."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs = tuple(_as_taken(arrays[f"inputs.{spec.name}"], spec) for spec in signature.inputs)
            outputs = tuple(arrays[f"outputs.{spec.name}"] for spec in signature.outputs)
    except KeyError as error:
        names = "inputs.NAME and outputs.NAME for each input and output of model.json"
        raise ModelError(Reason.INVALID, f"{path} lacks an array ({error.args[0]}); it holds {names}.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(Reason.INVALID, f"{path} cannot be read: {error}.") from error
    for spec, array in zip(signature.inputs, inputs, strict=True):
        if array.dtype != spec.datatype.dtype or not spec.admits(array.shape):
            message = f"{path}: inputs.{spec.name} is {array.dtype}{list(array.shape)}, unlike model.json's input."
            raise ModelError(Reason.INVALID, message)
    return Golden(path, inputs, outputs)


def _as_taken(array: Array, spec: TensorSpec) -> Array:
    """Take texts out of numpy's own arrays of them, which need no pickle."""
    return array.astype(object) if spec.datatype is BYTES and array.dtype.kind == "U" else array


def write_golden(path: Path, golden_inputs: Arrays, outputs: Arrays, signature: Signature) -> None:
    """Write the file for what a model was asked and answered."""
    inputs = (array.astype(str) if array.dtype.hasobject else array for array in golden_inputs)
    arrays: Any = {
        **{f"inputs.{spec.name}": array for spec, array in zip(signature.inputs, inputs, strict=True)},
        **{f"outputs.{spec.name}": array for spec, array in zip(signature.outputs, outputs, strict=True)},
    }
    np.savez(path, **arrays)


def hold_golden(golden: Golden, answers: Arrays, signature: Signature, precision: Precision) -> None:
    """Refuse a model whose answers are not the golden outputs, as near as its precision can come to them."""
    for spec, answer, right in zip(signature.outputs, answers, golden.outputs, strict=True):
        if answer.shape != right.shape:
            message = (
                f"{golden.path}: outputs.{spec.name} has the shape {list(right.shape)}; the model gives"
                f" {list(answer.shape)}."
            )
            raise ModelError(Reason.INVALID, message)
        if not _holds(answer, right, precision):
            worst = float(np.max(np.abs(answer.astype(np.float64) - right.astype(np.float64))))
            message = (
                f"The model does not give its golden outputs: {spec.name} is off by up to {worst:.3g} ({golden.path})."
            )
            raise ModelError(Reason.INVALID, message)


def _holds(answer: Array, right: Array, precision: Precision) -> bool:
    if precision is Precision.BFLOAT16:
        return largest_error((answer,), (right,)) <= BFLOAT16_TOLERANCE
    return np.allclose(answer, right, rtol=RTOL, atol=ATOL, equal_nan=True)


def simplest_inputs(signature: Signature) -> Arrays:
    """Make up one row, to run a model that brings no golden inputs."""
    return tuple(map(_simplest, signature.inputs))


def _simplest(spec: TensorSpec) -> Array:
    """Zeros; but true, because a boolean is mostly a mask, and a mask that leaves nothing leaves nothing to compute."""
    shape = [1 if size == FREE else size for size in spec.shape]
    if spec.datatype is BYTES:
        return np.full(shape, "a", dtype=object)
    return np.full(shape, fill_value=spec.datatype.name == "BOOL", dtype=spec.datatype.dtype)
