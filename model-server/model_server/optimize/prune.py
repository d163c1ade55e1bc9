"""Leave out neurons, which makes layers smaller, or single weights, which become zero."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from model_server.architectures.mlp import MLP, MlpParameters

if TYPE_CHECKING:
    from collections.abc import Sequence


@torch.no_grad()
def without_neurons(module: nn.Module, parameters: MlpParameters, share: float) -> tuple[nn.Module, MlpParameters]:
    """Return a perceptron that lacks this share of the neurons of each hidden layer: those that matter least.

    A neuron matters by the length of what it reads with, times the length of what it is read with.
    """
    layers = [step for step in module.modules() if isinstance(step, nn.Linear)]
    kept = [torch.arange(layers[0].in_features)]
    for here, behind in pairwise(layers):
        matters = here.weight.norm(dim=1) * behind.weight.norm(dim=0)
        count = max(1, round(len(matters) * (1 - share)))
        kept.append(matters.topk(count).indices.sort().values)
    kept.append(torch.arange(layers[-1].out_features))
    smaller = MlpParameters(tuple(map(len, kept)), parameters.activation)
    made = MLP.build(smaller)
    targets = [step for step in made.modules() if isinstance(step, nn.Linear)]
    for target, layer, (read, written) in zip(targets, layers, pairwise(kept), strict=True):
        target.weight.copy_(layer.weight[written][:, read])
        target.bias.copy_(layer.bias[written])
    return made, smaller


@torch.no_grad()
def drop_weights(module: nn.Module, share: float) -> None:
    """Set this share of the weights of each matrix to zero, the smallest ones, and keep them there while it learns."""
    for weight in _matrices(module):
        count = int(weight.numel() * share)
        mask = torch.ones(weight.numel(), dtype=weight.dtype)
        mask[weight.abs().flatten().topk(count, largest=False).indices] = 0.0
        mask = mask.view_as(weight)
        weight.mul_(mask)
        weight.register_hook(mask.mul)  # type: ignore[no-untyped-call]


def _matrices(module: nn.Module) -> Sequence[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.ndim > 1]
