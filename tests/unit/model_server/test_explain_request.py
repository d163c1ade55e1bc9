"""What a client may ask to have explained, and the sentence that everything else is answered with."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from model_server.errors import RequestError
from model_server.protocol.datatypes import DATATYPES, Signature, TensorSpec
from model_server.protocol.explain import MAX_FEATURES, ExplainRequest, Method, decode_explain

SIGNATURE = Signature(
    (TensorSpec("x", DATATYPES["FP32"], (-1, 2)), TensorSpec("n", DATATYPES["UINT8"], (-1, -1))),
    (TensorSpec("y", DATATYPES["FP32"], (-1, 3)), TensorSpec("z", DATATYPES["FP32"], (-1, 1))),
)
INPUTS = [
    {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
    {"name": "n", "datatype": "UINT8", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]},
]


def asked(
    methods: list[Method] | None = None,
    inputs: object = INPUTS,
    outputs: object = ({"name": "z"},),
    **parameters: object,
) -> ExplainRequest:
    body = {"id": "7", "inputs": inputs, "outputs": outputs, "parameters": parameters}
    return decode_explain(orjson.dumps(body), None, SIGNATURE, methods or list(Method), 4)


def test_the_smallest_request_takes_the_first_method_and_a_baseline_of_zeros() -> None:
    request = asked()
    assert (request.id, request.method, request.output, request.target) == ("7", Method.INTEGRATED_GRADIENTS, 1, (0,))
    assert request.n_steps == 50
    assert [(baseline.tolist(), baseline.dtype.name) for baseline in request.baselines] == [
        ([0, 0], "float32"),
        ([0, 0, 0], "uint8"),
    ]


def test_a_baseline_is_one_number_or_rows_by_input() -> None:
    assert [array.tolist() for array in asked(baseline=3).baselines] == [[3, 3], [3, 3, 3]]
    assert [array.tolist() for array in asked(baseline={"n": [7, 8, 9]}).baselines] == [[0, 0], [7, 8, 9]]
    assert [array.tolist() for array in asked(baseline={"x": 0.5}).baselines] == [[0.5, 0.5], [0, 0, 0]]


def test_shap_takes_more_samples_than_it_has_unknowns() -> None:
    assert asked(method="KernelShap").n_samples == 510
    assert asked(method="KernelShap", n_samples=7).n_samples == 7


def test_a_target_is_an_index_into_a_row_of_the_named_output() -> None:
    assert asked(outputs=[{"name": "y"}], target=2).target == (2,)
    assert asked(outputs=[{"name": "y", "parameters": {"binary_data": True}}], target=[2]).binary


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"method": "Lime"}, "does not explain by 'Lime'; it has IntegratedGradients, Saliency, FeatureAblation, Kern"),
        ({"method": "KernelShap", "methods": ["Saliency"]}, "does not explain by 'KernelShap'; it has Saliency."),
        ({"outputs": []}, "One output is explained at a time; name one of 'y', 'z' in outputs."),
        ({"outputs": [{"name": "y"}]}, "Which value of 'y', whose shape is [-1, 3]? Name its index in parameters.targ"),
        ({"outputs": [{"name": "y"}], "target": 3}, "parameters.target is [3]; a row of 'y' has the shape [3]."),
        ({"outputs": [{"name": "y"}], "target": -1}, "parameters.target is [-1]; a row of 'y' has the shape [3]."),
        ({"target": [0, 0]}, "parameters.target is [0, 0]; a row of 'z' has the shape [1]."),
        ({"target": "cat"}, "Expected `int | array | null`, got `str` - at `$.parameters.target`"),
        ({"n_steps": 0}, "parameters.n_steps is 0; it may be from 1 to 1000."),
        ({"n_steps": 1001}, "parameters.n_steps is 1001; it may be from 1 to 1000."),
        ({"method": "KernelShap", "n_samples": 6}, "parameters.n_samples is 6; it may be from 7 to 5000."),
        ({"method": "KernelShap", "n_steps": 9}, "KernelShap has no n_steps; leave it out of the parameters."),
        ({"method": "Saliency", "baseline": 0}, "Saliency has no baseline; leave it out of the parameters."),
        ({"baseline": {"w": 0}}, "parameters.baseline names 'w', which is no input of the model."),
        ({"baseline": {"x": [1, 2, 3]}}, "The baseline of 'x' has 3 values; give one, or the 2 of a row."),
        ({"baseline": 0.5}, "The baseline of 'n' has a value that is not UINT8."),
        ({"baseline": {"n": 256}}, "The baseline of 'n' has a value that is not UINT8."),
        ({"baseline": {"x": 1e39}}, "The baseline of 'x' has a value that is not FP32."),
        ({"inputs": INPUTS[:1]}, "The request lacks 'n'."),
    ],
)
def test_everything_else_is_told_what_to_change(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as refused:
        asked(**{**parameters, **({"methods": [Method("Saliency")]} if "methods" in parameters else {})})
    assert refused.value.status == 400
    assert said in refused.value.message


def test_rows_and_values_of_a_row_are_bounded() -> None:
    def rows(count: int, width: int) -> list[dict[str, object]]:
        return [
            {"name": "x", "datatype": "FP32", "shape": [count, 2], "data": np.zeros(count * 2).tolist()},
            {"name": "n", "datatype": "UINT8", "shape": [count, width], "data": [1] * count * width},
        ]

    with pytest.raises(RequestError, match="The request has 5 rows; this server explains at most 4 at a time"):
        asked(inputs=rows(5, 1))
    with pytest.raises(RequestError, match="A row has 1001 values; FeatureAblation, which runs the model for each, ta"):
        asked(inputs=rows(1, MAX_FEATURES - 1), method="FeatureAblation")
    assert asked(inputs=rows(1, MAX_FEATURES), method="IntegratedGradients").inputs[1].size == MAX_FEATURES
