"""`mlp`: a multi-layer perceptron."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from torch import nn

from model_server.architectures.architecture import ACTIVATIONS, Activation, Architecture, Chain, output_objection
from model_server.artefact.card import Card, CardTensor
from model_server.protocol.datatypes import FREE


class MlpParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes from the input to the output, and what stands between two layers."""

    layers: Chain
    activation: Activation = "relu"


def dense(layers: tuple[int, ...], activation: Activation) -> list[nn.Module]:
    """Make linear layers with an activation between two of them."""
    steps: list[nn.Module] = []
    for size_in, size_out in pairwise(layers):
        steps += [nn.Linear(size_in, size_out), ACTIVATIONS[activation]()]
    return steps[:-1]


def _build(parameters: MlpParameters) -> nn.Module:
    return nn.Sequential(*dense(parameters.layers, parameters.activation))


def _objection(parameters: MlpParameters, card: Card) -> str | None:
    size_in, size_out = parameters.layers[0], parameters.layers[-1]
    if [tensor.shape for tensor in card.inputs] != [(FREE, size_in)]:
        return f"one input of the shape [-1, {size_in}]"
    return output_objection(card, FREE, size_out)


MLP = Architecture(MlpParameters, _build, _objection)


def mlp_card(parameters: MlpParameters) -> Card:
    """Describe an mlp as a model directory does."""
    return Card(
        format="safetensors",
        architecture="mlp",
        parameters=msgspec.to_builtins(parameters),
        inputs=(CardTensor("x", "FP32", (FREE, parameters.layers[0])),),
        outputs=(CardTensor("y", "FP32", (FREE, parameters.layers[-1])),),
    )
