"""What an architecture is, and the words that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Generic, Literal, TypeVar

import msgspec
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.artefact.card import Card

Parameters = TypeVar("Parameters", bound=msgspec.Struct)

Size = Annotated[int, msgspec.Meta(ge=1)]
Sizes = Annotated[tuple[Size, ...], msgspec.Meta(min_length=1)]
Chain = Annotated[tuple[Size, ...], msgspec.Meta(min_length=2)]

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


@dataclass(frozen=True)
class Architecture(Generic[Parameters]):
    """How one name becomes a module; `objection` says what a card's signature had to be, or None where it fits."""

    parameters: type[Parameters]
    build: Callable[[Parameters], nn.Module]
    objection: Callable[[Parameters, Card], str | None]
    keeps_datatypes: Callable[[Parameters], bool] = lambda _parameters: False
    """Whether inputs stay what they are, such as token ids; elsewhere they become what the weights are."""


def output_objection(card: Card, *wanted: int) -> str | None:
    """Say what the one output had to be."""
    if [tensor.shape for tensor in card.outputs] != [wanted]:
        return f"one output of the shape {list(wanted)}"
    if not card.outputs[0].datatype.startswith("FP"):
        return "an output of FP16, FP32 or FP64"
    return None
