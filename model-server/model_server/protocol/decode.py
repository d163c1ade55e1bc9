"""A request's bytes become arrays, or a 400 that says what to change.

The JSON is decoded in two steps: first its frame, with each tensor's `data` left as raw bytes, then every `data`
straight to the type that its datatype allows. So `"1"`, `true` and `1.5` never slip into a tensor of integers, as
they would through an untyped list.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from model_server.errors import RequestError
from model_server.protocol.datatypes import BYTES, INPUT_DATATYPES

if TYPE_CHECKING:
    from model_server.protocol.datatypes import Array, Arrays, Signature, TensorSpec

_BAD_REQUEST = 400
_FP32_BYTES = 4
_LENGTH_BYTES = 4  # before each element of BYTES


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that the client asked for, by its position in the signature."""

    index: int
    binary: bool


@dataclass(slots=True)  # not frozen: that costs 1 µs
class InferRequest:
    """What a client asked for, checked."""

    id: str
    inputs: Arrays
    rows: int
    wanted: tuple[Wanted, ...]


_ABSENT = msgspec.Raw()


class _InputParameters(msgspec.Struct):
    binary_data_size: int | None = None


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: _InputParameters | None = None
    data: msgspec.Raw = _ABSENT


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: _OutputParameters | None = None


class _Parameters(msgspec.Struct):
    binary_data_output: bool = False


class _Body(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    outputs: list[_Output] | None = None
    parameters: _Parameters | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


def decode(body: bytes | memoryview, json_bytes: int | None, signature: Signature) -> InferRequest:
    """Check and convert one infer request; `json_bytes` is given where binary tensors follow the JSON."""
    frame, binary = split(body, json_bytes)
    try:
        asked = _decode_body(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _bad(f"The request's JSON is not an inference request: {error}.") from error
    inputs = _arrays(asked.inputs, binary, signature)
    rows = len(inputs[0])
    if len(inputs) > 1 and any(len(array) != rows for array in inputs):
        raise _bad(f"All inputs must have the same number of rows; these have {sorted(set(map(len, inputs)))}.")
    return InferRequest(asked.id, inputs, rows, _wanted(asked, signature))


def split(body: bytes | memoryview, json_bytes: int | None) -> tuple[bytes | memoryview, memoryview]:
    """Return the JSON, and the binary tensors behind it."""
    if json_bytes is None:
        return body, memoryview(b"")
    if json_bytes > len(body):
        raise _bad(f"Inference-Header-Content-Length is {json_bytes}, but the body has only {len(body)} bytes.")
    view = memoryview(body)
    return view[:json_bytes], view[json_bytes:]


def _arrays(tensors: list[_Input], binary: memoryview, signature: Signature) -> Arrays:
    arrays: list[Array | None] = [None] * len(signature.inputs)
    offset = 0
    for tensor in tensors:
        index = signature.input_index.get(tensor.name)
        if index is None:
            raise _bad(f"The model has no input {tensor.name!r}; it has {_names(signature.inputs)}.")
        if arrays[index] is not None:
            raise _bad(f"Input {tensor.name!r} is given twice.")
        count = _checked_count(tensor, signature.inputs[index])
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if size is None:
            arrays[index] = _from_json(tensor, signature.inputs[index], count)
        else:
            arrays[index] = _from_binary(tensor, signature.inputs[index], count, size, binary[offset:])
            offset += size
    if offset != len(binary):
        raise _bad(f"{len(binary)} bytes follow the JSON, but the inputs' binary_data_size add up to {offset}.")
    given = tuple(array for array in arrays if array is not None)
    if len(given) != len(arrays):
        missing = tuple(spec for spec, array in zip(signature.inputs, arrays, strict=True) if array is None)
        raise _bad(f"The request lacks {_names(missing)}.")
    return given


def _checked_count(tensor: _Input, spec: TensorSpec) -> int:
    where = f"Input {spec.name!r}"
    if tensor.datatype != spec.datatype.name:
        raise _bad(f"{where} has the datatype {tensor.datatype!r}; the model takes {spec.datatype.name}.")
    shape = tensor.shape
    if not spec.admits(tuple(shape)):
        raise _bad(f"{where} has the shape {shape}; the model takes {list(spec.shape)}, where -1 is free.")
    if any(size < 1 for size in shape):
        raise _bad(f"{where} has the shape {shape}; every size must be at least 1.")
    return prod(shape)


def _from_json(tensor: _Input, spec: TensorSpec, count: int) -> Array:
    where = f"Input {spec.name!r}"
    if tensor.data is _ABSENT:
        raise _bad(f"{where} has neither data nor the parameter binary_data_size.")
    if spec.datatype.json is None:
        raise _bad(f"{where} is {spec.datatype.name}, which has no JSON form; send it as a binary tensor.")
    rank = len(tensor.shape)
    depth = _depth(memoryview(tensor.data), rank)
    if depth not in (1, rank):
        raise _bad(f"{where} has data nested {depth} deep; write it flat or nested like its shape {tensor.shape}.")
    try:
        values = _list_decoder(spec.datatype.name, depth).decode(tensor.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _bad(f"{where} has data that is not {spec.datatype.name}: {error}.") from error
    if depth == 1 and len(values) != count:  # before the conversion, which costs more
        raise _bad(f"{where} has {len(values)} values; its shape {tensor.shape} holds {count}.")
    try:
        array = _flat_floats(values) if depth == 1 and spec.datatype.name == "FP32" else _array(values, spec)
    except (OverflowError, FloatingPointError):
        raise _bad(f"{where} has a value outside the range of {spec.datatype.name}.") from None
    except ValueError:
        raise _bad(f"{where} has data whose rows differ in length; its shape is {tensor.shape}.") from None
    if depth == rank and array.shape != tuple(tensor.shape):
        raise _bad(f"{where} has data of the shape {list(array.shape)}, but says {tensor.shape}.")
    return array.reshape(tensor.shape)


def _flat_floats(values: list[object]) -> Array:
    """Convert a list of numbers in the cheapest way: twice as fast as numpy's, and it knows of values out of range."""
    memory = bytearray(_FP32_BYTES * len(values))
    struct.pack_into(f"<{len(values)}f", memory, 0, *values)
    return np.frombuffer(memory, "<f4")


def _array(values: list[object], spec: TensorSpec) -> Array:
    with np.errstate(over="raise"):
        return np.asarray(values, dtype=spec.datatype.dtype)


def _from_binary(tensor: _Input, spec: TensorSpec, count: int, size: int, binary: memoryview) -> Array:
    where = f"Input {spec.name!r}"
    dtype = spec.datatype.dtype
    if tensor.data is not _ABSENT:
        raise _bad(f"{where} has both data and the parameter binary_data_size; give one.")
    if spec.datatype is not BYTES and size != count * dtype.itemsize:
        needed = count * dtype.itemsize
        raise _bad(f"{where} has the binary_data_size {size}; its shape {tensor.shape} takes {needed} bytes.")
    if size > len(binary):
        raise _bad(f"{where} needs {size} bytes after the JSON; only {len(binary)} are left.")
    if spec.datatype is BYTES:
        return _texts(binary[:size], count, where).reshape(tensor.shape)
    array = np.frombuffer(binary, dtype=dtype, count=count).reshape(tensor.shape)
    if dtype.kind == "b" and array.view(np.uint8).max() > 1:
        raise _bad(f"{where} is BOOL: each of its bytes must be 0 or 1.")
    return array


def _texts(binary: memoryview, count: int, where: str) -> Array:
    """Read texts, each behind its length in four bytes."""
    texts = np.empty(count, dtype=object)
    at = 0
    for index in range(count):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(binary[at:start], "little")
        if at > len(binary):
            raise _bad(f"{where} ends within its element {index}; each is its length in four bytes, and its bytes.")
        try:
            texts[index] = str(binary[start:at], "utf-8")
        except UnicodeDecodeError as error:
            raise _bad(f"{where} has the element {index}, which is no text in UTF-8: {error.reason}.") from None
    if at != len(binary):
        raise _bad(f"{where} has {len(binary) - at} bytes behind its {count} elements.")
    return texts


def _wanted(asked: _Body, signature: Signature) -> tuple[Wanted, ...]:
    binary_by_default = asked.parameters is not None and asked.parameters.binary_data_output
    if not asked.outputs:
        wanted = _all_outputs(len(signature.outputs), binary_by_default)
        if binary_by_default or signature.has_json_outputs:
            return wanted
    else:
        wanted = tuple(_want(output, signature, binary_by_default=binary_by_default) for output in asked.outputs)
    if len({one.index for one in wanted}) != len(wanted):
        raise _bad("The request names an output twice.")
    for one in wanted:
        spec = signature.outputs[one.index]
        if spec.datatype.json is None and not one.binary:
            raise _bad(f"Output {spec.name!r} is {spec.datatype.name}, which has no JSON form; ask for binary_data.")
    return wanted


@cache
def _all_outputs(count: int, binary: bool) -> tuple[Wanted, ...]:  # noqa: FBT001  # a part of the key
    return tuple(Wanted(index, binary) for index in range(count))


def _want(output: _Output, signature: Signature, *, binary_by_default: bool) -> Wanted:
    index = signature.output_index.get(output.name)
    if index is None:
        raise _bad(f"The model has no output {output.name!r}; it has {_names(signature.outputs)}.")
    binary = output.parameters.binary_data if output.parameters else None
    return Wanted(index, binary_by_default if binary is None else binary)


def _depth(raw: memoryview, most: int) -> int:
    """Count the brackets that open the data, at most one more than could be right."""
    depth = 0
    for byte in raw:
        if byte == ord("["):
            depth += 1
            if depth > most:
                break
        elif byte not in b" \t\r\n":
            break
    return depth


@cache
def _list_decoder(datatype: str, depth: int) -> msgspec.json.Decoder[list[object]]:
    shape: object = INPUT_DATATYPES[datatype].json
    for _ in range(depth):
        shape = list[shape]  # type: ignore[valid-type]
    return msgspec.json.Decoder(shape)


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)


def _bad(message: str) -> RequestError:
    return RequestError(_BAD_REQUEST, message)
