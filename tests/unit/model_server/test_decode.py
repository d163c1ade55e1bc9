"""Requests become arrays, or a sentence that says what to change."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from model_server.errors import RequestError
from model_server.protocol.datatypes import BYTES, DATATYPES, Signature, TensorSpec
from model_server.protocol.decode import Wanted, decode

PIXELS = Signature((TensorSpec("x", DATATYPES["FP32"], (-1, 2)),), (TensorSpec("y", DATATYPES["FP32"], (-1, 3)),))


def of(datatype: str, *shape: int) -> Signature:
    return Signature((TensorSpec("x", DATATYPES[datatype], (-1, *shape)),), PIXELS.outputs)


def tensor(
    data: object = None, *, shape: list[int] | None = None, datatype: str = "FP32", **more: object
) -> dict[str, Any]:
    made = {"name": "x", "shape": [1, 2] if shape is None else shape, "datatype": datatype, **more}
    return made if data is None else {**made, "data": data}


def asked(*inputs: dict[str, Any], **more: object) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def with_binary(head: bytes, *tensors: bytes) -> tuple[bytes, int]:
    return b"".join((head, *tensors)), len(head)


@pytest.mark.parametrize(
    "data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[1.0, 2e0], [3, 4.0]]], ids=["flat", "nested", "floats"]
)
def test_data_may_be_flat_or_nested(data: list[Any]) -> None:
    request = decode(asked(tensor(data, shape=[2, 2])), None, PIXELS)
    assert request.inputs[0].dtype == np.float32
    assert request.inputs[0].tolist() == [[1, 2], [3, 4]]
    assert request.rows == 2


def test_blanks_between_brackets_do_not_matter() -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data": [ \n[\t1 , 2 ] ] }]}'
    assert decode(body, None, PIXELS).inputs[0].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        *((f"INT{bits}", [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]) for bits in (8, 16, 32, 64)),
        *((f"UINT{bits}", [0, 2**bits - 1]) for bits in (8, 16, 32, 64)),
        ("FP32", [0.1, -3.4e38]),
        ("FP64", [0.1, 1.7e308]),
    ],
)
def test_every_datatype_carries_its_whole_range_in_json_and_in_binary(datatype: str, values: list[Any]) -> None:
    dtype = DATATYPES[datatype].dtype
    right = np.array([values], dtype=dtype)
    as_json = decode(asked(tensor(values, datatype=datatype)), None, of(datatype, 2))
    head = asked(tensor(datatype=datatype, parameters={"binary_data_size": right.nbytes}))
    as_binary = decode(*with_binary(head, right.tobytes()), of(datatype, 2))
    for request in (as_json, as_binary):
        assert request.inputs[0].dtype == dtype
        assert np.array_equal(request.inputs[0], right)


def test_fp16_comes_as_binary_only() -> None:
    right = np.array([[0.5, -2]], dtype="<f2")
    head = asked(tensor(datatype="FP16", parameters={"binary_data_size": 4}))
    assert decode(*with_binary(head, right.tobytes()), of("FP16", 2)).inputs[0].tolist() == [[0.5, -2]]
    with pytest.raises(RequestError, match="FP16, which has no JSON form"):
        decode(asked(tensor([0.5, -2], datatype="FP16")), None, of("FP16", 2))


def test_several_inputs_come_in_any_order_and_mixed_forms() -> None:
    signature = Signature(
        (TensorSpec("a", DATATYPES["FP32"], (-1, 1)), TensorSpec("b", DATATYPES["UINT8"], (-1, -1))), PIXELS.outputs
    )
    head = asked(
        {"name": "b", "shape": [2, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 6}},
        {"name": "a", "shape": [2, 1], "datatype": "FP32", "data": [7, 8]},
        id="42",
    )
    request = decode(*with_binary(head, bytes(range(6))), signature)
    assert [array.tolist() for array in request.inputs] == [[[7], [8]], [[0, 1, 2], [3, 4, 5]]]
    assert (request.rows, request.id) == (2, "42")


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, (Wanted(0, binary=False),)),
        ({"outputs": []}, (Wanted(0, binary=False),)),
        ({"outputs": [{"name": "y"}]}, (Wanted(0, binary=False),)),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, (Wanted(0, binary=True),)),
        ({"parameters": {"binary_data_output": True}}, (Wanted(0, binary=True),)),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
            },
            (Wanted(0, binary=False),),
        ),
    ],
)
def test_the_client_chooses_outputs_and_their_form(more: dict[str, Any], wanted: tuple[Wanted, ...]) -> None:
    assert decode(asked(tensor([1, 2]), **more), None, PIXELS).wanted == wanted


GOOD = tensor([1, 2])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON is not an inference request"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"inputs": [', "JSON is not an inference request"),
        (b'{"inputs": "\xff"}', "JSON is not an inference request"),
        (b"{}", "missing required field `inputs`"),
        (asked(GOOD, id=7), r"Expected `str`, got `int` - at `\$.id`"),
        (asked(), "The request lacks 'x'"),
        (asked(GOOD, GOOD), "Input 'x' is given twice"),
        (asked({**GOOD, "name": "z"}), "no input 'z'; it has 'x'"),
        (asked(tensor([1, 2], datatype="FP64")), "datatype 'FP64'; the model takes FP32"),
        (asked(tensor([1, 2], shape=[2])), r"shape \[2\]; the model takes \[-1, 2\]"),
        (asked(tensor([1, 2, 3], shape=[1, 3])), r"shape \[1, 3\]; the model takes"),
        (asked(tensor([], shape=[0, 2])), "every size must be at least 1"),
        (asked(tensor([1, 2], shape=[-1, 2])), "every size must be at least 1"),
        (asked(tensor()), "neither data nor the parameter binary_data_size"),
        (asked(tensor([1, 2, 3])), r"has 3 values; its shape \[1, 2\] holds 2"),
        (asked(tensor([1, 2], shape=[10**30, 2])), "has 2 values"),
        (asked(tensor([[[1, 2]]])), "nested 3 deep"),
        (asked(tensor(7)), "nested 0 deep"),
        (asked(tensor([[1, 2], [3]], shape=[2, 2])), "rows differ in length"),
        (asked(tensor([[1], [2]])), r"data of the shape \[2, 1\], but says \[1, 2\]"),
        (asked(tensor(["1", "2"])), "not FP32: Expected `float`, got `str`"),
        (asked(tensor([True, False])), "not FP32: Expected `float`, got `bool`"),
        (asked(tensor([1, None])), "not FP32: Expected `float`, got `null`"),
        (asked(tensor([1, 1e39])), "outside the range of FP32"),
        (asked(GOOD, outputs=[{"name": "z"}]), "no output 'z'; it has 'y'"),
        (asked(GOOD, outputs=[{"name": "y"}, {"name": "y"}]), "names an output twice"),
        (asked(tensor([1, 2], parameters={"binary_data_size": 8})), "both data and the parameter"),
        (asked(tensor(parameters={"binary_data_size": 8})), "needs 8 bytes after the JSON; only 0 are left"),
        (asked(tensor(parameters={"binary_data_size": 7})), "binary_data_size 7; its shape .* takes 8 bytes"),
        (asked(tensor(parameters={"binary_data_size": -8})), "binary_data_size -8"),
    ],
)
def test_a_malformed_request_is_told_its_fault(body: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        decode(body, None, PIXELS)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("datatype", "values", "said"),
    [
        ("INT8", [1, 128], "outside the range of INT8"),
        ("UINT8", [-1, 0], "outside the range of UINT8"),
        ("UINT64", [0, 2**64], "outside the range of UINT64"),
        ("INT32", [1.5, 2], "Expected `int`, got `float`"),
        ("BOOL", [1, 0], "Expected `bool`, got `int`"),
    ],
)
def test_values_outside_of_a_datatype_are_not_bent_into_it(datatype: str, values: list[Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        decode(asked(tensor(values, datatype=datatype)), None, of(datatype, 2))


def test_binary_booleans_are_zero_or_one() -> None:
    head = asked(tensor(datatype="BOOL", parameters={"binary_data_size": 2}))
    with pytest.raises(RequestError, match="must be 0 or 1"):
        decode(*with_binary(head, b"\x01\x02"), of("BOOL", 2))


def test_bytes_that_no_input_claims_are_refused() -> None:
    with pytest.raises(RequestError, match="4 bytes follow the JSON, but the inputs' binary_data_size add up to 0"):
        decode(*with_binary(asked(GOOD), b"abcd"), PIXELS)


def test_a_json_length_beyond_the_body_is_refused() -> None:
    with pytest.raises(RequestError, match="Inference-Header-Content-Length is 9999"):
        decode(asked(GOOD), 9999, PIXELS)


def test_inputs_with_different_numbers_of_rows_are_refused() -> None:
    spec = DATATYPES["FP32"]
    signature = Signature((TensorSpec("a", spec, (-1,)), TensorSpec("b", spec, (-1,))), PIXELS.outputs)
    inputs = [{"name": name, "shape": [n], "datatype": "FP32", "data": [1] * n} for name, n in (("a", 1), ("b", 2))]
    with pytest.raises(RequestError, match=r"same number of rows; these have \[1, 2\]"):
        decode(asked(*inputs), None, signature)


def test_an_fp16_output_must_be_asked_for_as_binary() -> None:
    signature = Signature(PIXELS.inputs, (TensorSpec("y", DATATYPES["FP16"], (-1, 3)),))
    with pytest.raises(RequestError, match="Output 'y' is FP16, which has no JSON form"):
        decode(asked(GOOD), None, signature)
    assert decode(asked(GOOD, parameters={"binary_data_output": True}), None, signature).wanted[0].binary


TEXTS = Signature((TensorSpec("x", BYTES, (-1,)),), PIXELS.outputs)


def elements(*texts: bytes) -> bytes:
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def test_texts_come_in_json_and_in_binary() -> None:
    given = ["a", "", "é 漢 🙂", "x" * 300]
    in_json = decode(asked(tensor(given, shape=[4], datatype="BYTES")), None, TEXTS)
    binary = elements(*(text.encode() for text in given))
    head = asked(tensor(shape=[4], datatype="BYTES", parameters={"binary_data_size": len(binary)}))
    in_binary = decode(*with_binary(head, binary), TEXTS)
    assert in_json.inputs[0].tolist() == in_binary.inputs[0].tolist() == given


@pytest.mark.parametrize(
    ("binary", "said"),
    [
        (elements(b"a"), "ends within its element 1"),
        (elements(b"a") + b"\x05\x00\x00\x00b", "ends within its element 1"),
        (elements(b"a") + b"\x05\x00", "ends within its element 1"),
        (elements(b"a", b"\xff"), "the element 1, which is no text in UTF-8"),
        (elements(b"a", b"b", b"c"), "has 5 bytes behind its 2 elements"),
    ],
)
def test_broken_texts_are_told_their_fault(binary: bytes, said: str) -> None:
    head = asked(tensor(shape=[2], datatype="BYTES", parameters={"binary_data_size": len(binary)}))
    with pytest.raises(RequestError, match=said):
        decode(*with_binary(head, binary), TEXTS)


@pytest.mark.parametrize(
    ("data", "said"), [([1], "not BYTES"), ([None], "not BYTES"), (["a", "b"], "has 2 values"), ([["a"]], "nested")]
)
def test_what_is_no_text_is_not_bent_into_one(data: list[Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        decode(asked(tensor(data, shape=[1], datatype="BYTES")), None, TEXTS)


def test_half_a_surrogate_pair_is_no_text() -> None:
    body = rb'{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["\ud800"]}]}'
    with pytest.raises(RequestError, match="not an inference request"):
        decode(body, None, TEXTS)
