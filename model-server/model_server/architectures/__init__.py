"""The named architectures: what `model.json` may say under `architecture`, and the module that each name stands for.

An artefact brings numbers only; the code that gives them meaning is here. To add one: a module beside `mlp` with a
struct of parameters, a torch module and a check of the signature, and an entry in ARCHITECTURES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import torch

from model_server.architectures.architecture import Architecture
from model_server.architectures.cnn import CNN
from model_server.architectures.mlp import MLP
from model_server.architectures.transformer_encoder import TRANSFORMER_ENCODER
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from torch import nn

    from model_server.artefact.card import Card

__all__ = ["ARCHITECTURES", "Architecture", "Built", "build"]

ARCHITECTURES: dict[str, Architecture[Any]] = {
    "mlp": MLP,
    "cnn": CNN,
    "transformer-encoder": TRANSFORMER_ENCODER,
}


class Built(NamedTuple):
    """A module, and what it takes."""

    module: nn.Module
    keeps_datatypes: bool


def build(card: Card) -> Built:
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
        return Built(architecture.build(parameters), architecture.keeps_datatypes(parameters))
