"""The module that is trained, the card that describes it, and the scales of a table, which end in its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from model_server.architectures.architecture import ACTIVATIONS
from model_server.architectures.cnn import CNN, CnnParameters, cnn_card
from model_server.architectures.mlp import MLP, MlpParameters, mlp_card

if TYPE_CHECKING:
    from model_server.artefact.card import Card
    from model_server.protocol.datatypes import Array
    from model_server.train.options import Options
    from model_server.train.table import Table


class Network(NamedTuple):
    """What is trained, and what it will be served as."""

    module: nn.Module
    card: Card


def make_network(table: Table, options: Options, seed: int) -> Network:
    """Make it with fresh weights, for what the table has."""
    torch.manual_seed(seed)
    size_out = max(len(table.labels), int(table.y.max()) + 1) if options.is_classification else table.y.shape[1]
    if options.channels:
        _, channels, height, width = table.x.shape
        parameters = CnnParameters(
            (channels, *options.channels), (*options.hidden, size_out), activation=options.activation
        )
        network = Network(CNN.build(parameters), cnn_card(parameters, height, width))
    else:
        layers = MlpParameters((table.x.shape[1], *options.hidden, size_out), options.activation)
        network = Network(MLP.build(layers), mlp_card(layers))
    if options.dropout:
        _drop_out(network.module, options.dropout)
    return network._replace(card=_named(network.card, table))


def _drop_out(module: nn.Module, share: float) -> None:
    """Behind each activation, as a hook: a layer of its own would rename the weights behind it."""
    for step in module.modules():
        if isinstance(step, tuple(ACTIVATIONS.values())):
            step.register_forward_hook(
                lambda layer, _inputs, output: functional.dropout(output, share, training=layer.training)
            )


def _named(card: Card, table: Table) -> Card:
    (x,), (y,) = card.inputs, card.outputs
    return msgspec.structs.replace(
        card,
        inputs=(msgspec.structs.replace(x, labels=table.columns),),
        outputs=(msgspec.structs.replace(y, labels=table.labels),),
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and deviation of columns; a column that never changes is left as it is."""

    mean: Array
    deviation: Array

    @classmethod
    def of(cls, columns: Array) -> Scale:
        """Measure."""
        deviation = columns.std(axis=0, dtype=np.float64)
        return cls(columns.mean(axis=0, dtype=np.float64), np.where(deviation > 0, deviation, 1.0))

    def __call__(self, columns: Array) -> Array:
        """Bring columns to mean 0 and deviation 1."""
        return ((columns - self.mean) / self.deviation).astype(np.float32)


class Scales(NamedTuple):
    """Of a table's inputs, and of its targets where they are numbers."""

    x: Scale
    y: Scale | None

    @classmethod
    def of(cls, table: Table, options: Options) -> Scales:
        """Measure the rows that are learned."""
        return cls(Scale.of(table.x), None if options.is_classification else Scale.of(table.y))

    def __call__(self, table: Table) -> Table:
        """Scale a table."""
        return replace(table, x=self.x(table.x), y=self.y(table.y) if self.y else table.y)

    @torch.no_grad()
    def fold_into(self, module: nn.Module) -> None:
        """Change the outer layers of a perceptron that learned scaled columns, so that it takes and gives raw ones."""
        layers = [step for step in module.modules() if isinstance(step, nn.Linear)]
        first, last = layers[0], layers[-1]
        weight = first.weight.double() / torch.from_numpy(self.x.deviation)
        first.bias.copy_(first.bias.double() - weight @ torch.from_numpy(self.x.mean))
        first.weight.copy_(weight)
        if self.y:
            deviation: Any = torch.from_numpy(self.y.deviation)
            last.weight.copy_(last.weight.double() * deviation[:, None])
            last.bias.copy_(last.bias.double() * deviation + torch.from_numpy(self.y.mean))
