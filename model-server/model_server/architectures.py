"""The named architectures: what `model.json` may say under `architecture`, and the module that each name stands for.

An artefact brings numbers only; the code that gives them meaning is here. To add one: a struct of parameters, a
module, a check of the signature, an entry in ARCHITECTURES.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import msgspec
import torch
from torch import nn

from model_server.artefact.card import Card, CardTensor
from model_server.errors import ModelError, Reason
from model_server.protocol.datatypes import FREE

if TYPE_CHECKING:
    from collections.abc import Callable

Parameters = TypeVar("Parameters", bound=msgspec.Struct)
Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


@dataclass(frozen=True)
class Architecture(Generic[Parameters]):
    """How one name becomes a module; `objection` says why a card's signature does not fit, or None."""

    parameters: type[Parameters]
    build: Callable[[Parameters], nn.Module]
    objection: Callable[[Parameters, Card], str | None]


class MlpParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes from the input to the output, and what stands between two layers."""

    layers: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=2)]
    activation: Activation = "relu"


class Mlp(nn.Sequential):
    """A multi-layer perceptron; its weights are named as in a plain `nn.Sequential` of the same layers."""

    def __init__(self, parameters: MlpParameters) -> None:
        steps: list[nn.Module] = []
        for size_in, size_out in pairwise(parameters.layers):
            steps += [nn.Linear(size_in, size_out), _ACTIVATIONS[parameters.activation]()]
        super().__init__(*steps[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take any datatype of the protocol, so that clients may send pixels as bytes."""
        y: torch.Tensor = super().forward(x.to(torch.float32))  # type: ignore[no-untyped-call]
        return y


def _mlp_objection(parameters: MlpParameters, card: Card) -> str | None:
    size_in, size_out = parameters.layers[0], parameters.layers[-1]
    if [tensor.shape for tensor in card.inputs] != [(FREE, size_in)]:
        return f"one input of the shape [-1, {size_in}]"
    if [tensor.shape for tensor in card.outputs] != [(FREE, size_out)]:
        return f"one output of the shape [-1, {size_out}]"
    if not card.outputs[0].datatype.startswith("FP"):
        return "an output of FP16, FP32 or FP64"
    return None


MLP = Architecture(MlpParameters, Mlp, _mlp_objection)
ARCHITECTURES: dict[str, Architecture[Any]] = {"mlp": MLP}


def mlp_card(parameters: MlpParameters) -> Card:
    """Describe an mlp as a model directory does."""
    return Card(
        format="safetensors",
        architecture="mlp",
        parameters=msgspec.to_builtins(parameters),
        inputs=(CardTensor("x", "FP32", (FREE, parameters.layers[0])),),
        outputs=(CardTensor("y", "FP32", (FREE, parameters.layers[-1])),),
    )


def build(card: Card) -> nn.Module:
    """Build the module that a card names, on the meta device: shapes, but no memory until weights are assigned."""
    architecture = ARCHITECTURES.get(card.architecture)
    if architecture is None:
        known = ", ".join(ARCHITECTURES)
        message = f"model.json names the architecture {card.architecture!r}; this server knows {known}."
        raise ModelError(Reason.INVALID, message)
    try:
        parameters = msgspec.convert(card.parameters, architecture.parameters)
    except msgspec.ValidationError as error:
        message = f"model.json has parameters that do not fit the architecture {card.architecture}: {error}."
        raise ModelError(Reason.INVALID, message) from error
    if objection := architecture.objection(parameters, card):
        message = f"model.json's inputs and outputs do not fit: this {card.architecture} has {objection}."
        raise ModelError(Reason.INVALID, message)
    with torch.device("meta"):
        return architecture.build(parameters)
