"""A data set: an npz file that nobody has vouched for becomes rows of inputs, and what is right for them.

It is read array by array, and none is made room for before its header has been held against the bytes that there are:
neither a zip bomb nor a header of a million billion rows costs more memory than is allowed. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from model_server.errors import ModelError, Reason
from model_server.protocol.datatypes import BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_server.protocol.datatypes import Array, TensorSpec

TRUTH = "y"
_INPUT = "x"  # what the only input of a model may be called, whatever its name
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows, as the model takes them."""

    inputs: Mapping[str, Array]
    truth: Array | None
    rows: int
    more: Mapping[str, Array]
    """Arrays beside them that were asked for."""


def read_dataset(file: IO[bytes], inputs: Sequence[TensorSpec], *, max_bytes: int, more: Sequence[str] = ()) -> Dataset:
    """Read the array of each input, `y` if it is there, and what is asked for beside them."""
    try:
        with zipfile.ZipFile(file) as archive:
            there = {name[:-4] for name in archive.namelist() if name.endswith(".npy")}
            names = _arrays_for(inputs, there)
            if missing := [name for name in more if name not in there]:
                raise _bad(
                    f"lacks the array {missing[0]!r}, which is asked for beside the inputs; it has {sorted(there)}"
                )
            arrays = _read(archive, [*dict.fromkeys((*names, *more))], max_bytes)
    except _BROKEN as error:
        raise _bad(f"is not an npz file of plain arrays, as numpy.savez writes it: {error}") from error
    truth = arrays.get(TRUTH)
    rows = len(arrays[names[0]])
    for name, array in arrays.items():
        if len(array) != rows or rows == 0:
            raise _bad(f"has {len(array)} rows of {name!r} and {rows} of {names[0]!r}; all need the same, above 0")
    if truth is not None and not np.isfinite(truth).all():
        raise _bad(f"has values in {TRUTH!r} that are no numbers (NaN or infinite)")
    fitted = {spec.name: _fitted(arrays[name], name, spec) for name, spec in zip(names, inputs, strict=False)}
    return Dataset(fitted, truth, rows, {name: arrays[name] for name in more})


def _arrays_for(inputs: Sequence[TensorSpec], there: set[str]) -> list[str]:
    """Name the array of each input, in their order, and then `y` where there is one."""
    names = [_INPUT] if len(inputs) == 1 and _INPUT in there else [spec.name for spec in inputs]
    if TRUTH in names:
        raise _bad(
            f"cannot hold the model's input {TRUTH!r} beside what is right, which has that name; rename the input"
        )
    if missing := [name for name in names if name not in there]:
        wanted = f"{_INPUT!r}" if len(inputs) == 1 else "one for each input of the model"
        raise _bad(f"lacks the array {', '.join(map(repr, missing))}; it needs {wanted}, and has {sorted(there)}")
    return [*names, *([TRUTH] if TRUTH in there else [])]


def _read(archive: zipfile.ZipFile, names: Sequence[str], max_bytes: int) -> dict[str, Array]:
    members = {name: archive.getinfo(f"{name}.npy") for name in names}
    total = sum(member.file_size for member in members.values())
    if total > max_bytes:
        raise _bad(f"unpacks to {total} bytes, more than the {max_bytes} that --max-bytes allows")
    arrays = {}
    for name, member in members.items():
        if member.flag_bits & 1:
            raise _bad("is encrypted; write it with numpy.savez")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _bad("is compressed in another way than numpy's; write it with numpy.savez_compressed")
        with archive.open(member) as packed:
            _check_header(packed, name, member.file_size)
        with archive.open(member) as packed:
            arrays[name] = np.lib.format.read_array(packed, allow_pickle=False)
    return arrays


def _check_header(packed: IO[bytes], name: str, size: int) -> None:
    """Refuse what is not there as it is said to be: numpy makes room for it first."""
    version = np.lib.format.read_magic(packed)
    if version not in _HEADERS:
        raise _bad(f"has the array {name!r} in the format {version}; write it with numpy.savez")
    try:
        shape, _, dtype = _HEADERS[version](packed)
    except Exception as error:
        # numpy reads it with Python's own parser, which has many ways to fail when it is broken or nested too deep
        raise _bad(f"has the array {name!r} with a header that cannot be read ({type(error).__name__})") from error
    if dtype.kind not in "biuf":
        raise _bad(f"has the array {name!r} of {dtype}; it may hold numbers and booleans only")
    if not shape or prod(shape) * dtype.itemsize != size - packed.tell():
        raise _bad(f"has the array {name!r} of the shape {list(shape)}, which does not fit its {size} bytes")


def _fitted(array: Array, name: str, spec: TensorSpec) -> Array:
    """Give an input the shape and the datatype that the model takes, as long as no value becomes another."""
    if spec.datatype is BYTES:
        raise _bad(f"cannot hold the model's input {spec.name!r}, which is texts; evaluate compares models of numbers")
    row = spec.shape[1:]
    if -1 not in row and array.shape[1:] != row and prod(array.shape[1:]) == prod(row):
        array = array.reshape(len(array), *row)
    if not spec.admits((spec.shape[0], *array.shape[1:])):
        message = (
            f"has {name!r} of the shape {list(array.shape)}; the model's input {spec.name!r} takes {list(spec.shape)}"
        )
        raise _bad(message)
    return _converted(array, name, spec.datatype.dtype)


def _converted(array: Array, name: str, dtype: np.dtype[Any]) -> Array:
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        converted = array.astype(dtype)
    is_narrower = array.dtype.kind == "f" and dtype.kind != "f"
    if dtype.kind == "f":
        fits = np.array_equal(np.isfinite(converted), np.isfinite(array))
    else:
        fits = not is_narrower and np.array_equal(converted, array)
    if not fits:
        raise _bad(f"has {name!r} of {array.dtype}, with values that the model's {dtype} cannot hold")
    return converted


def _bad(what: str) -> ModelError:
    return ModelError(Reason.INVALID, f"The data set {what}.")
