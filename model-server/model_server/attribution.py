"""Which values of a request's rows made one value of the answer what it is: captum on a module of its own.

captum's packages import all that they have, and with its plots matplotlib. The four methods need none of that, so their
modules are imported past both `__init__`; the version is therefore pinned exactly.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model_server.errors import ModelError, Reason, RequestError, first_line
from model_server.protocol.explain import Method, hold_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.protocol.datatypes import Arrays, Signature
    from model_server.protocol.explain import ExplainRequest

    Tensors = tuple[torch.Tensor, ...]


def _import_packages_bare() -> None:
    for name in ("captum", "captum.attr"):
        if name not in sys.modules:
            spec = importlib.util.find_spec(name)
            if spec is None:
                message = "--explain needs captum, which this image does not have; install requirements-explain.txt."
                raise ModelError(Reason.INVALID, message)
            sys.modules[name] = importlib.util.module_from_spec(spec)


_import_packages_bare()

from captum._utils.models.model import Model as Surrogate  # noqa: E402
from captum.attr._core.feature_ablation import FeatureAblation  # noqa: E402
from captum.attr._core.integrated_gradients import IntegratedGradients  # noqa: E402
from captum.attr._core.kernel_shap import KernelShap  # noqa: E402
from captum.attr._core.saliency import Saliency  # noqa: E402


class GivenUpError(Exception):
    """Nobody waits for the explanation any more."""


class Explainer:
    """Explains answers of a module, which nobody else may run: predictions are computed in another thread."""

    def __init__(
        self, module: Callable[..., Any], in_types: Sequence[torch.dtype], signature: Signature, max_rows: int
    ) -> None:
        self._module = module
        self._in_types = in_types
        self._signature = signature
        self._max_rows = max_rows

    def __call__(self, asked: ExplainRequest, is_over: Callable[[], bool]) -> Arrays:
        """Return an attribution per input, and for integrated gradients how far their sum is off.

        Raises RequestError if this model cannot be explained so, GivenUpError between two passes once it is over.
        """
        if asked.method.needs_gradients:
            self._hold_differentiable()
        inputs = self._tensors(asked.inputs)
        baselines = self._tensors(tuple(np.broadcast_to(array, (1, *array.shape)) for array in asked.baselines))

        def score(*rows: torch.Tensor) -> torch.Tensor:
            if is_over():
                raise GivenUpError
            return self._score(asked, rows)

        rows = len(inputs[0])
        match asked.method:
            case Method.INTEGRATED_GRADIENTS:
                integrated = IntegratedGradients(score)
                integrated.gradient_func = _gradients
                attributions, delta = integrated.attribute(
                    inputs,
                    baselines,
                    n_steps=asked.n_steps,
                    internal_batch_size=self._max_rows,
                    return_convergence_delta=True,
                )
                return _arrays((*attributions, delta))
            case Method.SALIENCY:
                saliency = Saliency(score)
                saliency.gradient_func = _gradients
                return _arrays(saliency.attribute(tuple(tensor.requires_grad_() for tensor in inputs)))
            case Method.FEATURE_ABLATION:
                at_once = max(1, self._max_rows // rows)
                return _arrays(FeatureAblation(score).attribute(inputs, baselines, perturbations_per_eval=at_once))
            case Method.KERNEL_SHAP:
                each = [
                    self._shap(score, tuple(tensor[at : at + 1] for tensor in inputs), baselines, asked.n_samples)
                    for at in range(rows)
                ]
                return _arrays(tuple(map(torch.cat, zip(*each, strict=True))))

    def _score(self, asked: ExplainRequest, rows: Tensors) -> torch.Tensor:
        """Compute the one value per row that is explained."""
        answer = self._module(*(tensor.to(dtype) for tensor, dtype in zip(rows, self._in_types, strict=True)))
        output = answer if isinstance(answer, torch.Tensor) else answer[asked.output]
        hold_target(asked.target, output.shape[1:], self._signature.outputs[asked.output].name)
        index: tuple[slice | int, ...] = (slice(None), *asked.target)
        return output[index].float()

    def _shap(self, score: Callable[..., torch.Tensor], row: Tensors, baselines: Tensors, samples: int) -> Tensors:
        if sum(tensor.numel() for tensor in row) == 1:  # captum has no distribution of coalitions for a single player
            with torch.no_grad():
                effect = score(*row) - score(*baselines)
            return tuple(effect.reshape(tensor.shape) for tensor in row)
        shap = KernelShap(score)
        shap.interpretable_model = _LeastSquares()  # instead of scikit-learn's, the same without a 100 MB library
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same request has the same answer
            attributions: Tensors = shap.attribute(
                row, baselines, n_samples=samples, perturbations_per_eval=self._max_rows
            )
        return attributions

    def _hold_differentiable(self) -> None:
        for spec, dtype in zip(self._signature.inputs, self._in_types, strict=True):
            if not dtype.is_floating_point:
                raise _without_gradients(f"its input {spec.name!r} is {spec.datatype.name}")

    def _tensors(self, arrays: Arrays) -> Tensors:
        """Convert; booleans to numbers, with which captum calculates."""
        types = (torch.uint8 if dtype is torch.bool else dtype for dtype in self._in_types)
        return tuple(torch.from_numpy(np.array(array)).to(dtype) for array, dtype in zip(arrays, types, strict=True))


def _gradients(forward_fn: Callable[..., torch.Tensor], inputs: Tensors, *_more: object, **_others: object) -> Tensors:
    """Differentiate in captum's stead: by an input that the model does not use, the derivative is 0, not an error."""
    with torch.enable_grad():
        score = forward_fn(*inputs)
        if not score.requires_grad:
            raise _without_gradients("its output does not depend on its input by differentiable steps")
        try:
            found: tuple[torch.Tensor | None, ...] = torch.autograd.grad(score.sum(), inputs, allow_unused=True)
        except RuntimeError as error:
            raise _without_gradients(first_line(error)) from error
    return tuple(
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(inputs, found, strict=True)
    )


def _without_gradients(why: str) -> RequestError:
    others = f"{Method.FEATURE_ABLATION} and {Method.KERNEL_SHAP} need no gradients"
    return RequestError(400, f"The model cannot be differentiated: {why}. {others}.")


def _arrays(tensors: Tensors) -> Arrays:
    return tuple(tensor.detach().float().numpy() for tensor in tensors)


class _LeastSquares(Surrogate):  # type: ignore[misc]  # captum is not typed
    """A linear model with an intercept, fitted to weighted samples."""

    _coefficients: torch.Tensor

    def fit(self, train_data: Any, **_kwargs: object) -> None:  # noqa: ANN401
        """Fit it to all samples."""
        ((samples, values, weights),) = ((part.double() for part in batch) for batch in train_data)
        if not values.isfinite().all():  # LAPACK does not take them; whoever sends NaN gets it back
            self._coefficients = torch.full(samples.shape[1:], torch.nan)
            return
        share = weights / weights.sum()
        samples, values = samples - share @ samples, values - share @ values
        root = weights.sqrt()
        solution = torch.linalg.lstsq(root[:, None] * samples, (root * values)[:, None], driver="gelsd").solution
        self._coefficients = solution[:, 0].float()

    def representation(self) -> torch.Tensor:
        """Return the coefficients."""
        return self._coefficients

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Predict, which nobody asks for."""
        raise NotImplementedError
