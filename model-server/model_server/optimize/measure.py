"""How good, how fast and how large a candidate is, beside the model that there was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save

from model_server.train.judge import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from model_server.optimize.candidates import Candidate
    from model_server.train.options import Loss
    from model_server.train.table import Table

ROUNDS = 200
ROWS = 64


def figure_of(module: nn.Module, held_out: Table, loss: Loss) -> float:
    """Return the accuracy, or the root of the mean squared error."""
    return judge(module, held_out, loss)["accuracy" if loss == "CrossEntropy" else "rmse"]


def lost(figure: float, before: float, loss: Loss) -> float:
    """Return how much worse a figure is: in points of accuracy, or in percent of the error before."""
    return 100 * (before - figure) if loss == "CrossEntropy" else 100 * (figure / before - 1)


@torch.inference_mode()
def latencies(modules: Sequence[nn.Module], x: torch.Tensor) -> list[float]:
    """Return the shortest time of a pass of each, measured in turns, so that noise meets all."""
    best = [float("inf")] * len(modules)
    for _ in range(ROUNDS):
        for index, module in enumerate(modules):
            start = time.perf_counter()
            module(x)
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def size_of(candidate: Candidate) -> int:
    """Count the bytes of the file that it would be."""
    return len(save(candidate.weights))
