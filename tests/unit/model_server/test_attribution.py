"""captum's answers, held against what is known without it: of linear models, of sums, of models without gradients."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
import torch

from model_server.attribution import Explainer, GivenUpError
from model_server.errors import RequestError
from model_server.protocol.datatypes import DATATYPES, Signature, TensorSpec
from model_server.protocol.explain import Method, decode_explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.protocol.datatypes import Array, Arrays

PERTURBING = [method for method in Method if not method.needs_gradients]
DIFFERENTIATING = [method for method in Method if method.needs_gradients]
ROWS = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, 0.0]], np.float32)


def spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, DATATYPES[datatype], (-1, *shape))


def explain(
    module: Callable[..., Any],
    *inputs: tuple[str, Array],
    outputs: int = 1,
    is_over: bool = False,
    **parameters: object,
) -> Arrays:
    """Explain a module that takes the inputs (datatype and array) as they are."""
    specs = tuple(spec("abc"[at], datatype, *array.shape[1:]) for at, (datatype, array) in enumerate(inputs))
    signature = Signature(specs, (spec("y", "FP32", outputs),))
    types = [torch.from_numpy(array).dtype for _, array in inputs]
    body = {
        "inputs": [
            {"name": one.name, "datatype": one.datatype.name, "shape": array.shape, "data": array.tolist()}
            for one, (_, array) in zip(specs, inputs, strict=True)
        ],
        "parameters": parameters,
    }
    asked = decode_explain(orjson.dumps(body), None, signature, list(Method), 64)
    return Explainer(module, types, signature, max_rows=4)(asked, lambda: is_over)


def linear(size_in: int, size_out: int) -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(size_in, size_out).requires_grad_(requires_grad=False)


@pytest.mark.parametrize("method", [method for method in Method if method is not Method.SALIENCY])
def test_of_a_linear_model_each_value_has_its_weight_times_its_way_from_the_baseline(method: Method) -> None:
    module = linear(3, 2)
    found, *delta = explain(module, ("FP32", ROWS), outputs=2, method=method, target=1, baseline={"a": [1, 0, 0.5]})
    way = ROWS - np.array([1, 0, 0.5], np.float32)
    np.testing.assert_allclose(found, module.weight[1].numpy() * way, atol=1e-5)
    assert [each.shape for each in delta] == ([(2,)] if method is Method.INTEGRATED_GRADIENTS else [])


def test_saliency_is_how_steep_the_answer_is() -> None:
    module = linear(3, 2)
    (found,) = explain(module, ("FP32", ROWS), outputs=2, method="Saliency", target=0)
    np.testing.assert_allclose(found, np.abs(np.broadcast_to(module.weight[0].numpy(), ROWS.shape)), atol=1e-6)


def test_the_convergence_delta_is_what_too_few_steps_have_missed() -> None:
    def cube(x: torch.Tensor) -> torch.Tensor:
        return (x**3).sum(dim=1, keepdim=True)

    for steps in (1, 2, 50):
        found, delta = explain(cube, ("FP32", ROWS), n_steps=steps)
        np.testing.assert_allclose(found.sum(axis=1) - delta, (ROWS**3).sum(axis=1), rtol=1e-5)
    assert np.abs(explain(cube, ("FP32", ROWS), n_steps=1)[1]).min() > 1
    np.testing.assert_allclose(delta, 0, atol=1e-4)


@pytest.mark.parametrize("method", PERTURBING)
@pytest.mark.parametrize("datatype", ["INT64", "UINT8", "BOOL"])
def test_perturbing_methods_take_integers_and_give_the_model_its_own_datatypes(method: Method, datatype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(DATATYPES[datatype].dtype)

    def chosen(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.from_numpy(array).dtype
        return (x.float() @ torch.tensor([1.0, 2.0, 4.0]) + weight[:, 0])[:, None]

    ids, weights = explain(chosen, (datatype, array), ("FP32", ROWS[:, :1]), method=method)
    np.testing.assert_allclose(ids, array * [1, 2, 4], atol=1e-3)
    np.testing.assert_allclose(weights, ROWS[:, :1], atol=1e-3)


def test_the_only_value_has_the_whole_effect() -> None:
    (found,) = explain(lambda x: x * x, ("FP32", ROWS[:, :1]), method="KernelShap", baseline=2)
    np.testing.assert_allclose(found, ROWS[:, :1] ** 2 - 4)


def test_the_same_request_has_the_same_explanation_and_draws_nothing_from_others() -> None:
    module = torch.nn.Sequential(linear(3, 8), torch.nn.ReLU(), linear(8, 1))
    state = torch.get_rng_state()
    first, second = (explain(module, ("FP32", ROWS), method="KernelShap", n_samples=6)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


class Backwardless(torch.autograd.Function):
    @staticmethod
    def forward(_context: object, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] * 1.0

    @staticmethod
    def backward(_context: object, *_gradients: torch.Tensor) -> torch.Tensor:
        message = "there is no way back"
        raise RuntimeError(message)


@pytest.mark.parametrize("method", DIFFERENTIATING)
@pytest.mark.parametrize(
    ("module", "said"),
    [
        (lambda a, b: a + b, f"its input 'b' is INT64. {Method.FEATURE_ABLATION} and {Method.KERNEL_SHAP} need no"),
        (lambda a: a.argmax(dim=1, keepdim=True), "its output does not depend on its input by differentiable steps"),
        (lambda a: Backwardless.apply(a) * 2, "there is no way back"),
    ],
    ids=["an integer", "an index", "a step without a derivative"],
)
def test_what_has_no_gradient_is_refused_with_what_works(method: Method, module: Callable[..., Any], said: str) -> None:
    inputs = [("FP32", ROWS)] * len(inspect.signature(module).parameters)
    if "INT64" in said:
        inputs[1] = ("INT64", np.ones((2, 3), np.int64))
    with pytest.raises(RequestError) as refused:
        explain(module, *inputs, method=method)
    assert refused.value.status == 400
    assert said in refused.value.message
    assert refused.value.message.endswith("FeatureAblation and KernelShap need no gradients.")


@pytest.mark.parametrize("method", list(Method))
def test_what_is_no_number_makes_explanations_that_are_none(method: Method) -> None:
    found, *_ = explain(lambda a: a[:, :1] * torch.nan, ("FP32", ROWS), method=method)
    assert np.isnan(found[:, 0]).all()


@pytest.mark.parametrize("method", list(Method))
def test_an_input_that_the_model_does_not_use_has_made_nothing(method: Method) -> None:
    used, unused, *_ = explain(lambda a, _b: a[:, :1] * 2, ("FP32", ROWS), ("FP32", ROWS), method=method)
    np.testing.assert_allclose(
        np.abs(used[:, 0]), 2 if method is Method.SALIENCY else 2 * np.abs(ROWS[:, 0]), rtol=1e-5
    )
    np.testing.assert_allclose(unused, 0, atol=1e-5)


@pytest.mark.parametrize("method", list(Method))
def test_nothing_is_computed_for_nobody(method: Method) -> None:
    def never(_x: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    with pytest.raises(GivenUpError):
        explain(never, ("FP32", ROWS), method=method, is_over=True)
