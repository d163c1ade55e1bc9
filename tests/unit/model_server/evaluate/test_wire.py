"""What is asked is what our server reads, and what any server answers is read, or told what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from model_server.errors import ModelError
from model_server.evaluate.wire import Interface, read_answer, read_interface, takes_binary, write_request
from model_server.protocol.datatypes import DATATYPES, Signature, TensorSpec
from model_server.protocol.decode import decode
from model_server.protocol.encode import encode, encode_metadata

NAMES = [name for name, datatype in DATATYPES.items() if datatype.json]
FEW = settings(max_examples=settings().max_examples // 4)
OUTPUT = TensorSpec("score", DATATYPES["FP32"], (-1, 2))


def tensors(names: list[str]) -> Any:  # noqa: ANN401
    """Make arrays of these datatypes, all with as many rows."""

    def array(name: str, rows: int, columns: int) -> Any:  # noqa: ANN401
        finite = {"allow_nan": False, "allow_infinity": False} if name.startswith("FP") else {}
        dtype = DATATYPES[name].dtype
        return arrays.arrays(dtype, (rows, columns), elements=arrays.from_dtype(dtype, **finite))

    sizes = some.tuples(some.integers(1, 5), some.integers(1, 4))
    return sizes.flatmap(lambda size: some.tuples(*(array(name, *size) for name in names)))


@FEW
@given(
    both=some.lists(some.sampled_from(NAMES), min_size=1, max_size=3).flatmap(
        lambda names: some.tuples(some.just(names), tensors(names))
    ),
    binary=some.booleans(),
)
def test_the_server_reads_what_is_sent_and_is_understood(both: tuple[list[str], Any], binary: bool) -> None:
    names, values = both
    specs = tuple(TensorSpec(f"in{at}", DATATYPES[name], (-1, -1)) for at, name in enumerate(names))
    signature = Signature(specs, (TensorSpec("other", DATATYPES["BOOL"], (-1,)), TensorSpec("out", *_of(specs[0]))))
    request = write_request(
        Interface(specs, "out", binary), {spec.name: value for spec, value in zip(specs, values, strict=True)}
    )
    length = request.headers.get("inference-header-content-length")
    asked = decode(request.body, int(length) if length else None, signature)
    for sent, read in zip(values, asked.inputs, strict=True):
        np.testing.assert_array_equal(sent, read)
    body, length_of_json = encode(asked, (np.zeros(len(values[0]), bool), values[0]), {"model_name": "m"}, signature)
    answer = read_answer(body, str(length_of_json) if length_of_json else None, "out")
    np.testing.assert_array_equal(answer, values[0])
    assert bool(length_of_json) == binary


def _of(spec: TensorSpec) -> tuple[Any, Any]:
    return spec.datatype, spec.shape


def test_our_own_metadata_are_read() -> None:
    signature = Signature((TensorSpec("x", DATATYPES["FP32"], (-1, 3)),), (OUTPUT,))
    text = encode_metadata(name="m", version="1", platform="torch", signature=signature, parameters={})
    interface = read_interface(text, "", binary=True)
    assert (interface.inputs, interface.output, interface.fixed_rows) == (signature.inputs, "score", None)


def test_metadata_of_others_are_read() -> None:
    """As Triton writes them for a model with a batch of its own, and with sizes in strings, as protobuf has them."""
    text = json.dumps(
        {
            "name": "m",
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": ["8", "3"], "parameters": {}}],
            "outputs": [
                {"name": "a", "datatype": "BYTES", "shape": [8]},
                {"name": "b", "datatype": "INT64", "shape": [8]},
            ],
        }
    ).encode()
    interface = read_interface(text, "b", binary=False)
    assert (interface.inputs[0].shape, interface.output, interface.fixed_rows) == ((8, 3), "b", 8)
    with pytest.raises(ModelError, match="The model has no output 'c'; it has 'a', 'b'"):
        read_interface(text, "c", binary=False)


def described(**changes: object) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1]}
    return json.dumps({"inputs": [tensor | changes], "outputs": [tensor]}).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"<html>", "not those of the protocol"),
        (b"\xff", "not those of the protocol"),
        (b"[" * 100_000, "not those of the protocol"),
        (b'{"name": "m"}', "name no inputs or no outputs"),
        (b'{"inputs": [], "outputs": null}', "name no inputs or no outputs"),
        (described(datatype="BYTES"), "'x' is BYTES; an evaluation compares numbers and booleans only"),
        (described(shape=[]), r"has the shape \[\]"),
        (described(shape=[0, 3]), r"has the shape \[0, 3\]"),
        (described(shape=[-2]), r"has the shape \[-2\]"),
    ],
)
def test_metadata_that_tell_nothing_are_refused(text: bytes, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_interface(text, "", binary=False)


@pytest.mark.parametrize(
    ("text", "is_known"),
    [
        (b'{"name": "triton", "extensions": ["classification", "binary_tensor_data"]}', True),
        (b'{"name": "mlserver", "extensions": []}', False),
        (b'{"name": "other"}', False),
        (b"<html>", False),
        (b"\xff", False),
        (b'{"other": ' + b"[" * 100_000, False),
    ],
)
def test_the_binary_extension_is_used_where_it_is_offered(text: bytes, is_known: bool) -> None:
    assert takes_binary(text) is is_known


@pytest.mark.parametrize(
    ("datatype", "values", "said"),
    [("FP16", [[1]], "which is FP16; let the model take FP32"), ("FP32", [[np.nan]], r"NaN or infinite.; take those")],
)
def test_what_json_cannot_say_is_told_before_it_is_sent(datatype: str, values: object, said: str) -> None:
    spec = TensorSpec("x", DATATYPES[datatype], (-1, 1))
    with pytest.raises(ModelError, match=said):
        write_request(Interface((spec,), "y", binary=False), {"x": np.array(values, spec.datatype.dtype)})


def answered(**changes: object) -> bytes:
    return json.dumps(
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [1, 2]} | changes]}
    ).encode()


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({}, [[1], [2]]),
        ({"data": [[1], [2.5]]}, [[1], [2.5]]),
        ({"datatype": "BOOL", "data": [True, False]}, [[True], [False]]),
        ({"datatype": "UINT8"}, [[1], [2]]),
        ({"datatype": "UINT64", "data": [1, 2**63]}, [[1], [2**63]]),
        ({"shape": [2]}, [1, 2]),
    ],
)
def test_flat_and_nested_answers_are_read(changes: dict[str, object], values: object) -> None:
    assert read_answer(answered(**changes), None, "y").tolist() == values


@pytest.mark.parametrize("data", [[1, None], [[1], [None]], [None, None]])
def test_null_is_no_number(data: object) -> None:
    assert np.isnan(read_answer(answered(data=data), None, "y")[-1, 0])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "is not one of the protocol"),
        (b"\xff", "is not one of the protocol"),
        (b'{"outputs": [' + b"[" * 100_000, "is not one of the protocol"),
        (answered(name="z"), "lacks the output 'y'"),
        (answered(datatype="BYTES", data=["a", "b"]), "'y' is BYTES"),
        (answered(data=["1", "2"]), "data of 'y' that are not FP32"),
        (answered(data=[None, "2"]), "data of 'y' that are not FP32"),
        (answered(datatype="INT64", data=[1.5, 2]), "that are not INT64: they are float64"),
        (answered(datatype="INT64", data=[1, None]), "that are not INT64"),
        (answered(datatype="UINT8", data=[1, 256]), "that are not UINT8"),
        (answered(datatype="INT64", data=[1, 2**70]), "that are not INT64"),
        (answered(datatype="UINT64", data=[1.5, 2]), "that are not UINT64: they are float"),
        (answered(datatype="UINT64", data=[1, 2**64]), "that are not UINT64"),
        (answered(data=[[1], [2, 3]]), "that are not FP32"),
        (answered(data={"a": 1}), "that are not FP32"),
        (answered(data=[1]), r"has 1 values of 'y', but says the shape \[2, 1\]"),
        (answered(shape=[-2, -1]), r"says the shape \[-2, -1\]"),
        (answered(shape=[10**30]), "has 2 values"),
        (answered(shape=[], data=[1]), r"says the shape \[\]"),
        (answered(parameters={"binary_data_size": 8}), "has 0 values"),
        (answered(parameters={"binary_data_size": -8}), "has 0 values"),
        (json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}]}).encode(), "there are none"),
    ],
)
def test_answers_that_are_none_are_told(body: bytes, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_answer(body, None, "y")


@pytest.mark.parametrize("length", ["-1", "99999", "x", "", "1e3", "9" * 5000])
def test_a_wrong_length_of_the_json_is_told(length: str) -> None:
    with pytest.raises(ModelError, match="bytes of JSON; it has"):
        read_answer(answered(), length, "y")


@FEW
@given(body=some.binary(max_size=40), length=some.none() | some.integers(-1, 50).map(str))
def test_no_answer_does_anything_but_tell(body: bytes, length: str | None) -> None:
    with pytest.raises(ModelError):
        read_answer(body, length, "y")
