"""The loop: epochs of steps, to the end or until the validation has not become better for long enough."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from model_server.errors import ModelError, Reason
from model_server.train.judge import CRITERIA, loss_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.train.checkpoint import State
    from model_server.train.options import Options
    from model_server.train.table import Table
    from model_server.train.team import Team

Epoch = dict[str, float]
History = list[Epoch]


def fit(
    module: nn.Module,
    learned: Table,
    validation: Table | None,
    options: Options,
    team: Team,
    *,
    state: State,
    keep: Callable[[Callable[[], State]], None],
    tell: Callable[[Epoch], None],
) -> History:
    """Train the module where `state` left off, and leave it with the weights that are to be served."""
    module.load_state_dict(state.get("weights", module.state_dict()))
    steps = _Steps(module, team.joined(module), _optimizer(module, options), learned, options, team)
    if "optimizer" in state:
        steps.optimizer.load_state_dict(state["optimizer"])
    history: History = list(state.get("history", []))
    best: State | None = state.get("best")
    while len(history) < options.epochs and not is_stuck(history, options.patience):
        epoch = len(history)
        history.append({"loss": steps.take(epoch), "learning_rate": options.rate(epoch)})
        if validation is not None:
            history[-1]["validation_loss"] = loss_of(module, validation, options.loss)
        if options.patience is not None and best_epoch(history) == epoch:
            best = deepcopy(module.state_dict())
        tell(history[-1])
        keep(partial(_snapshot, module, steps.optimizer, history, best))
    if best is not None:
        module.load_state_dict(best)
    return history


def best_epoch(history: Sequence[Epoch]) -> int:
    """Return the number of the epoch with the lowest validation, the first of equals."""
    return min(range(len(history)), key=lambda epoch: history[epoch]["validation_loss"])


def is_stuck(history: Sequence[Epoch], patience: int | None) -> bool:
    """Say whether it is time to end early."""
    return patience is not None and bool(history) and len(history) - 1 - best_epoch(history) >= patience


def _optimizer(module: nn.Module, options: Options) -> torch.optim.Optimizer:
    weights = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": options.l2},
        {"params": biases, "weight_decay": 0.0},
    ]
    match options.optimizer:
        case "SGD":
            return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum)
        case "Adam":
            return torch.optim.Adam(groups, lr=options.learning_rate)
        case "AdamW":
            return torch.optim.AdamW(groups, lr=options.learning_rate)


def _snapshot(module: nn.Module, optimizer: torch.optim.Optimizer, history: History, best: State | None) -> State:
    return {
        "weights": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "best": best,
    }


@dataclass(frozen=True, slots=True)
class _Steps:
    """Takes the steps of an epoch.

    Each process divides the loss of its rows by those of the whole step, and the gradients' mean is over the team: so
    the team takes the very step that one process would.
    """

    module: nn.Module
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    table: Table
    options: Options
    team: Team

    def take(self, epoch: int) -> float:
        """Return the mean loss of the rows, as they came."""
        x, y = torch.from_numpy(self.table.x), torch.from_numpy(self.table.y)
        criterion = CRITERIA[self.options.loss](reduction="sum")
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derived_seed(self.options.seed, epoch)))
        torch.manual_seed(derived_seed(self.options.seed, epoch, self.team.rank))  # for what is dropped out
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(epoch)
        self.module.train()
        total = 0.0
        for rows in order.split(self.options.batch_size or len(x)):  # type: ignore[no-untyped-call]
            mine = self.team.share(rows)
            self.optimizer.zero_grad()
            loss = criterion(self.parallel(x[mine]), y[mine])
            (loss * (self.team.size / y[rows].numel()) + self._penalty()).backward()
            self.optimizer.step()
            total += loss.item()
        mean = self.team.sum(total) / y.numel()
        if not math.isfinite(mean):
            message = f"The loss is no number in epoch {epoch + 1}; lower --learning-rate, or try --standardize."
            raise ModelError(Reason.INVALID, message)
        return mean

    def _penalty(self) -> torch.Tensor | float:
        if not self.options.l1:
            return 0.0
        weights = [parameter for parameter in self.module.parameters() if parameter.ndim > 1]
        return self.options.l1 * torch.stack([weight.abs().sum() for weight in weights]).sum()


def derived_seed(*numbers: int) -> int:
    """Make one seed out of several, as numpy does: neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
