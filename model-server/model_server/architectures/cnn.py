"""`cnn`: convolutions over images, averaged over the picture, then a perceptron."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import msgspec
from torch import nn

from model_server.architectures.architecture import (
    ACTIVATIONS,
    Activation,
    Architecture,
    Chain,
    Size,
    Sizes,
    output_objection,
)
from model_server.architectures.mlp import dense
from model_server.artefact.card import Card, CardTensor
from model_server.protocol.datatypes import FREE

IMAGE = 4  # dimensions: rows, channels, height, width


class CnnParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One block per pair of `channels`: convolution, normalisation, activation, pooling."""

    channels: Chain
    """From the image's own to those of the last block."""
    head: Sizes
    """Sizes of the dense layers after the average; the last one is the output's."""
    kernel_size: Annotated[int, msgspec.Meta(ge=1, le=31)] = 3
    """Odd, so that a convolution keeps the picture's size."""
    pool: Size = 2
    """A picture becomes so many times smaller per block; 1 keeps its size."""
    batch_norm: bool = False
    activation: Activation = "relu"


def _build(parameters: CnnParameters) -> nn.Module:
    steps: list[nn.Module] = []
    for channels_in, channels_out in pairwise(parameters.channels):
        steps.append(nn.Conv2d(channels_in, channels_out, parameters.kernel_size, padding=parameters.kernel_size // 2))
        if parameters.batch_norm:
            steps.append(nn.BatchNorm2d(channels_out))
        steps.append(ACTIVATIONS[parameters.activation]())
        if parameters.pool > 1:
            # ceil: however small a picture is, something is left of it
            steps.append(nn.MaxPool2d(parameters.pool, ceil_mode=True))
    steps += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*steps, *dense((parameters.channels[-1], *parameters.head), parameters.activation))


def _objection(parameters: CnnParameters, card: Card) -> str | None:
    if parameters.kernel_size % 2 == 0:
        return f"an odd kernel_size, not {parameters.kernel_size}"
    channels = parameters.channels[0]
    if len(card.inputs) != 1 or len(shape := card.inputs[0].shape) != IMAGE or shape[1] != channels:
        return f"one input of the shape [-1, {channels}, height, width]"
    return output_objection(card, FREE, parameters.head[-1])


CNN = Architecture(CnnParameters, _build, _objection)


def cnn_card(parameters: CnnParameters, height: int, width: int) -> Card:
    """Describe a cnn as a model directory does."""
    return Card(
        format="safetensors",
        architecture="cnn",
        parameters=msgspec.to_builtins(parameters),
        inputs=(CardTensor("x", "FP32", (FREE, parameters.channels[0], height, width)),),
        outputs=(CardTensor("y", "FP32", (FREE, parameters.head[-1])),),
    )
