"""Arrays become answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from model_server.protocol.datatypes import DATATYPES, Signature, TensorSpec
from model_server.protocol.decode import InferRequest, Wanted
from model_server.protocol.encode import encode

SIGNATURE = Signature((), (TensorSpec("y", DATATYPES["FP32"], (-1, 2)), TensorSpec("label", DATATYPES["INT64"], (-1,))))
OUTPUTS = (np.array([[0.1, 2]], dtype="<f4"), np.array([7], dtype="<i8"))
FRAME = {"model_name": "m", "model_version": "v"}


def answer(
    *wanted: Wanted, request_id: str = "", outputs: tuple[np.ndarray[Any, Any], ...] = OUTPUTS
) -> tuple[bytes, int]:
    return encode(InferRequest(request_id, (), 1, wanted), outputs, FRAME, SIGNATURE)


def test_a_json_answer_holds_flat_data_and_the_shortest_digits() -> None:
    body, length = answer(Wanted(0, binary=False), Wanted(1, binary=False), request_id="a")
    assert length == 0
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "v",
        "id": "a",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 2.0]},
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [7]},
        ],
    }


def test_without_an_id_the_answer_has_none() -> None:
    assert "id" not in json.loads(answer(Wanted(0, binary=False))[0])


def test_binary_tensors_follow_the_json_in_the_order_asked_for() -> None:
    body, length = answer(Wanted(1, binary=True), Wanted(0, binary=True))
    head = json.loads(body[:length])
    assert [(one["name"], one["parameters"]) for one in head["outputs"]] == [
        ("label", {"binary_data_size": 8}),
        ("y", {"binary_data_size": 8}),
    ]
    assert body[length:] == OUTPUTS[1].tobytes() + OUTPUTS[0].tobytes()


def test_what_json_cannot_express_is_null_there_and_whole_in_binary() -> None:
    outputs = (np.array([[np.nan, np.inf]], dtype="<f4"), OUTPUTS[1])
    assert json.loads(answer(Wanted(0, binary=False), outputs=outputs)[0])["outputs"][0]["data"] == [None, None]
    body, length = answer(Wanted(0, binary=True), outputs=outputs)
    assert np.frombuffer(body[length:], "<f4").tobytes() == outputs[0].tobytes()
