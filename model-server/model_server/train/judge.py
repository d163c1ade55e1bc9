"""How good a module is: the loss, and the figures that `model-server evaluate` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from model_server.evaluate.scores import CLASSIFICATION, REGRESSION, Tally, differences

if TYPE_CHECKING:
    from model_server.train.options import Loss
    from model_server.train.table import Table

CRITERIA: dict[Loss, type[nn.Module]] = {
    "CrossEntropy": nn.CrossEntropyLoss,
    "MeanSquaredError": nn.MSELoss,
    "MeanAbsoluteError": nn.L1Loss,
    "Huber": nn.HuberLoss,
}
_AT_ONCE = 1024


@torch.inference_mode()
def answers_of(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Ask as the server does: nothing is dropped out."""
    was_training = module.training
    module.eval()
    answers = torch.cat([module(rows) for rows in x.split(_AT_ONCE)])  # type: ignore[no-untyped-call]
    module.train(was_training)
    return answers


def loss_of(module: nn.Module, table: Table, loss: Loss) -> float:
    """Return the mean over the rows, without what regularisation adds."""
    answers = answers_of(module, torch.from_numpy(table.x))
    return float(CRITERIA[loss]()(answers, torch.from_numpy(table.y)))


def judge(module: nn.Module, table: Table, loss: Loss) -> dict[str, float]:
    """Return the loss and the metrics that fit it."""
    answers = answers_of(module, torch.from_numpy(table.x))
    figures = {"loss": float(CRITERIA[loss]()(answers, torch.from_numpy(table.y)))}
    if loss == "CrossEntropy":
        tally = Tally.of(table.y, answers.argmax(dim=1).numpy())
        return figures | {name: CLASSIFICATION[name](tally) for name in ("accuracy", "precision", "recall", "f1")}
    off = differences(answers.numpy(), table.y)
    return figures | {name: error(off) for name, error in REGRESSION.items()}
