"""A request for an explanation: the body of an inference request, and in its `parameters` how it is to be explained."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from model_server.errors import RequestError
from model_server.protocol.datatypes import DATATYPES, FREE, Signature, TensorSpec
from model_server.protocol.decode import InferRequest, Wanted, decode, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.protocol.datatypes import Array, Arrays

_BAD_REQUEST = 400
_FP32 = DATATYPES["FP32"]

MAX_STEPS = 1000
MAX_SAMPLES = 5000
MAX_FEATURES = 1000
"""Values per row that a perturbing method takes: it runs the model once for each, and more often."""


class Method(StrEnum):
    """How an answer is explained, in captum's own words; the first one that a server has is its default."""

    INTEGRATED_GRADIENTS = "IntegratedGradients"
    SALIENCY = "Saliency"
    FEATURE_ABLATION = "FeatureAblation"
    KERNEL_SHAP = "KernelShap"

    @property
    def needs_gradients(self) -> bool:
        """Say whether it differentiates the model; the others only run it."""
        return self in {Method.INTEGRATED_GRADIENTS, Method.SALIENCY}

    @property
    def takes(self) -> set[str]:
        """Name the parameters that it has."""
        return _TAKES[self]


_TAKES = {
    Method.INTEGRATED_GRADIENTS: {"baseline", "n_steps"},
    Method.SALIENCY: set[str](),
    Method.FEATURE_ABLATION: {"baseline"},
    Method.KERNEL_SHAP: {"baseline", "n_samples"},
}

Target: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """What a client asked to have explained, checked as far as that can be done without the model."""

    id: str
    method: Method
    inputs: Arrays
    output: int
    """The position of the explained output."""
    target: Target
    """Which value of it: one index for each dimension behind the rows."""
    baselines: Arrays
    """One row."""
    n_steps: int
    n_samples: int
    binary: bool


class _Parameters(msgspec.Struct):
    method: str | None = None
    target: int | list[int] | None = None
    baseline: float | dict[str, float | list[float]] | None = None
    n_steps: int | None = None
    n_samples: int | None = None


class _Body(msgspec.Struct):
    parameters: _Parameters | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


def decode_explain(
    body: bytes | memoryview, json_bytes: int | None, signature: Signature, methods: Sequence[Method], max_rows: int
) -> ExplainRequest:
    """Check and convert one request for an explanation."""
    asked = decode(body, json_bytes, signature)
    if asked.rows > max_rows:
        raise _bad(f"The request has {asked.rows} rows; this server explains at most {max_rows} at a time.")
    try:
        given = _decode_body(split(body, json_bytes)[0]).parameters or _Parameters()
    except msgspec.MsgspecError as error:
        raise _bad(f"The request's parameters do not ask for an explanation: {error}.") from error
    method = _method(given.method, methods)
    for name in ("baseline", "n_steps", "n_samples"):
        if getattr(given, name) is not None and name not in method.takes:
            raise _bad(f"{method} has no {name}; leave it out of the parameters.")
    features = sum(prod(array.shape[1:]) for array in asked.inputs)
    if not method.needs_gradients and features > MAX_FEATURES:
        message = f"A row has {features} values; {method}, which runs the model for each, takes at most {MAX_FEATURES}."
        raise _bad(message)
    wanted = _explained(asked, signature)
    return ExplainRequest(
        id=asked.id,
        method=method,
        inputs=asked.inputs,
        output=wanted.index,
        target=_target(given.target, signature.outputs[wanted.index]),
        baselines=_baselines(given.baseline, asked.inputs, signature),
        n_steps=_bounded("n_steps", given.n_steps, default=50, least=1, most=MAX_STEPS),
        n_samples=_samples(given.n_samples, features) if method is Method.KERNEL_SHAP else 0,
        binary=wanted.binary,
    )


def explanation_signature(signature: Signature) -> Signature:
    """Describe the answers: an attribution for each value of each input, and how far their sum is off."""
    attributions = (TensorSpec(spec.name, _FP32, spec.shape) for spec in signature.inputs)
    return Signature(signature.inputs, (*attributions, TensorSpec("convergence_delta", _FP32, (-1,))))


def answered(asked: ExplainRequest, outputs: Arrays) -> InferRequest:
    """Return the request in the form that answers are encoded by."""
    wanted = tuple(Wanted(index, asked.binary) for index in range(len(outputs)))
    return InferRequest(asked.id, asked.inputs, len(asked.inputs[0]), wanted)


def _method(name: str | None, methods: Sequence[Method]) -> Method:
    if name is None:
        return methods[0]
    if name not in methods:
        raise _bad(f"This server does not explain by {name!r}; it has {', '.join(methods)}.")
    return Method(name)


def _explained(asked: InferRequest, signature: Signature) -> Wanted:
    if len(asked.wanted) != 1:
        names = ", ".join(repr(signature.outputs[one.index].name) for one in asked.wanted)
        raise _bad(f"One output is explained at a time; name one of {names} in outputs.")
    return asked.wanted[0]


def _target(given: int | list[int] | None, spec: TensorSpec) -> Target:
    """Check an index as far as the output's shape is known; sizes that are free are checked when there is an output."""
    sizes = spec.shape[1:]
    if given is None:
        if any(size != 1 for size in sizes):
            shown = list(spec.shape)
            raise _bad(f"Which value of {spec.name!r}, whose shape is {shown}? Name its index in parameters.target.")
        return (0,) * len(sizes)
    target = (given,) if isinstance(given, int) else tuple(given)
    hold_target(target, sizes, spec.name)
    return target


def hold_target(target: Target, sizes: Sequence[int], name: str) -> None:
    """Refuse an index that is not one of an output's row."""
    if len(target) != len(sizes) or not all(
        at >= 0 and (size == FREE or at < size) for at, size in zip(target, sizes, strict=True)
    ):
        message = f"parameters.target is {list(target)}; a row of {name!r} has the shape {list(sizes)}."
        raise _bad(message)


def _baselines(given: float | dict[str, float | list[float]] | None, inputs: Arrays, signature: Signature) -> Arrays:
    named = given if isinstance(given, dict) else dict.fromkeys(signature.input_index, given or 0.0)
    for name in named:
        if name not in signature.input_index:
            raise _bad(f"parameters.baseline names {name!r}, which is no input of the model.")
    return tuple(
        _baseline(named.get(spec.name, 0.0), array, spec) for array, spec in zip(inputs, signature.inputs, strict=True)
    )


def _baseline(given: float | list[float], array: Array, spec: TensorSpec) -> Array:
    values = np.asarray(given, dtype=np.float64)
    row = array.shape[1:]
    if values.size not in (1, prod(row)):
        raise _bad(f"The baseline of {spec.name!r} has {values.size} values; give one, or the {prod(row)} of a row.")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(spec.datatype.dtype)
    if not np.isfinite(cast).all() or (cast.dtype.kind != "f" and (cast != values).any()):
        raise _bad(f"The baseline of {spec.name!r} has a value that is not {spec.datatype.name}.")
    return np.broadcast_to(cast.reshape(() if cast.size == 1 else row), row)


def _samples(given: int | None, features: int) -> int:
    """Fewer than the unknowns of the linear fit would leave some of them open; twice as many and more is SHAP's way."""
    least = features + 2
    return _bounded("n_samples", given, default=min(2 * features + 500, MAX_SAMPLES), least=least, most=MAX_SAMPLES)


def _bounded(name: str, given: int | None, *, default: int, least: int, most: int) -> int:
    number = default if given is None else given
    if not least <= number <= most:
        raise _bad(f"parameters.{name} is {number}; it may be from {least} to {most}.")
    return number


def _bad(message: str) -> RequestError:
    return RequestError(_BAD_REQUEST, message)
