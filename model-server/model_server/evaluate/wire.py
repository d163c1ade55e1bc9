"""Requests of the Open Inference Protocol as bytes, and the arrays in what any server of it answers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson

from model_server.errors import ModelError, Reason
from model_server.protocol.datatypes import DATATYPES, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_server.protocol.datatypes import Array, Datatype

JSON_LENGTH = "inference-header-content-length"
BINARY = "binary_tensor_data"
_CAST = {"b": "b", "i": "biu", "u": "biu", "f": "biuf"}  # which kinds of JSON's values each kind of numbers takes
_MAX_DIGITS = 18  # fits 64 bits
_ABSENT = msgspec.Raw()


class _Server(msgspec.Struct):
    extensions: list[str] = []


class _Described(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Model(msgspec.Struct):
    inputs: list[_Described] | None = None
    outputs: list[_Described] | None = None


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: _Parameters | None = None
    data: msgspec.Raw = _ABSENT


class _Answer(msgspec.Struct):
    outputs: list[_Tensor]


@dataclass(frozen=True, slots=True)
class Interface:
    """What to send to a model, what to look at in its answers, and in which form."""

    inputs: tuple[TensorSpec, ...]
    output: str
    binary: bool

    @property
    def fixed_rows(self) -> int | None:
        """How many rows the model wants in every request, where it does not leave that to the client."""
        rows = self.inputs[0].shape[0]
        return rows if rows > 0 else None


@dataclass(frozen=True, slots=True)
class Request:
    """The body of an inference, and what its header says of it."""

    body: bytes
    headers: Mapping[str, str]


def takes_binary(description: bytes) -> bool:
    """Tell from a server's description whether it knows the binary tensor extension."""
    try:
        return BINARY in msgspec.json.decode(description, type=_Server).extensions
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def read_interface(description: bytes, output: str, *, binary: bool) -> Interface:
    """Read a model's metadata; without a name for it, the first output is the one."""
    try:
        model = msgspec.json.decode(description, type=_Model, strict=False)  # some write sizes as strings
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"The model's metadata are not those of the protocol: {error}.") from error
    if not model.inputs or not model.outputs:
        raise _bad("The model's metadata name no inputs or no outputs; declare them where the model is configured.")
    names = [each.name for each in model.outputs]
    return Interface(tuple(map(_spec, model.inputs)), chosen(output, names), binary)


def chosen(output: str, names: Sequence[str]) -> str:
    """Return the output that is looked at: the one that is asked for, else the first."""
    if output and output not in names:
        raise _bad(f"The model has no output {output!r}; it has {', '.join(map(repr, names))}.")
    return output or names[0]


def _spec(described: _Described) -> TensorSpec:
    shape = tuple(described.shape)
    if not shape or any(size < 1 and size != -1 for size in shape):
        raise _bad(f"The model's input {described.name!r} has the shape {described.shape} in its metadata.")
    return TensorSpec(described.name, _datatype(described), shape)


def _datatype(described: _Described | _Tensor) -> Datatype:
    if (known := DATATYPES.get(described.datatype)) is None:
        what = f"The model's {described.name!r} is {described.datatype}"
        raise _bad(f"{what}; an evaluation compares numbers and booleans only: {', '.join(DATATYPES)}.")
    return known


def write_request(interface: Interface, inputs: Mapping[str, Array]) -> Request:
    """Ask for the output of some rows."""
    tensors: list[dict[str, object]] = []
    binary: list[bytes] = []
    for spec in interface.inputs:
        array = inputs[spec.name]
        tensor: dict[str, object] = {"name": spec.name, "datatype": spec.datatype.name, "shape": array.shape}
        if interface.binary:
            binary.append(array.tobytes())
            tensor["parameters"] = {"binary_data_size": array.nbytes}
        else:
            _require_json(array, spec)
            tensor["data"] = np.ascontiguousarray(array).reshape(-1)
        tensors.append(tensor)
    output: dict[str, object] = {"name": interface.output}
    if interface.binary:
        output["parameters"] = {"binary_data": True}
    text = orjson.dumps({"inputs": tensors, "outputs": [output]}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not interface.binary:
        return Request(text, {"Content-Type": "application/json"})
    headers = {"Content-Type": "application/octet-stream", JSON_LENGTH: str(len(text))}
    return Request(b"".join((text, *binary)), headers)


def _require_json(array: Array, spec: TensorSpec) -> None:
    what = f"The server knows no binary tensors, and JSON has no form for {spec.name!r}"
    if spec.datatype.json is None:
        raise _bad(f"{what}, which is {spec.datatype.name}; let the model take FP32.")
    if not np.isfinite(array).all():
        raise _bad(f"{what}, which has values that are no numbers (NaN or infinite); take those rows out.")


def read_answer(body: bytes, json_bytes: str | None, output: str) -> Array:
    """Return the output's array, as the answer says it is, with a row for each that was asked about."""
    frame, binary = body, memoryview(b"")
    if json_bytes is not None:
        length = int(json_bytes) if json_bytes.isdecimal() and len(json_bytes) < _MAX_DIGITS else len(body) + 1
        if length > len(body):
            raise _bad(f"The server says that its answer begins with {json_bytes} bytes of JSON; it has {len(body)}.")
        frame, binary = body[:length], memoryview(body)[length:]
    try:
        answer = msgspec.json.decode(frame, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"The server's answer is not one of the protocol: {error}.") from error
    offset = 0
    for tensor in answer.outputs:
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if tensor.name == output:
            return _array(tensor, None if size is None else binary[offset : offset + max(size, 0)])
        offset += max(size or 0, 0)
    raise _bad(f"The server's answer lacks the output {output!r}.")


def _array(tensor: _Tensor, binary: memoryview | None) -> Array:
    dtype = _datatype(tensor).dtype
    try:
        values = np.frombuffer(binary, dtype) if binary is not None else _from_json(tensor.data, dtype)
    except (ValueError, TypeError, OverflowError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"The server's answer has data of {tensor.name!r} that are not {tensor.datatype}: {error}."
        raise _bad(message) from error
    if any(size < 0 for size in tensor.shape) or prod(tensor.shape) != values.size or not tensor.shape:
        message = f"The server's answer has {values.size} values of {tensor.name!r}, but says the shape {tensor.shape}."
        raise _bad(message)
    return values.reshape(tensor.shape)


def _from_json(data: msgspec.Raw, dtype: np.dtype[Any]) -> Array:
    """Take the values as they are: no number out of a string, no integer out of a fraction; null is no number."""
    if data is _ABSENT:
        raise ValueError("there are none")
    decoded = msgspec.json.decode(data)
    values = np.array(decoded)
    if values.dtype.kind in "fO" and dtype == np.uint64:  # what a mixture with numbers beyond INT64 becomes
        values = _whole_numbers(decoded)
    if values.dtype.kind == "O" and dtype.kind == "f":
        values = np.array([np.nan if value is None else value for value in values.reshape(-1)])
    if values.size and values.dtype.kind not in _CAST[dtype.kind]:
        raise ValueError(f"they are {values.dtype}")
    converted = values.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(converted, values):
        raise ValueError("they are too large")
    return converted


def _whole_numbers(data: Any) -> Array:  # noqa: ANN401  # JSON
    """Take them as they are."""
    values = np.array(data, dtype=object)
    if strange := {type(value).__name__ for value in values.flat} - {"int"}:
        raise ValueError(f"they are {', '.join(sorted(strange))}")
    return values.astype(np.uint64)


def _bad(message: str) -> ModelError:
    return ModelError(Reason.INVALID, message)
