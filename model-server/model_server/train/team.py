"""Data-parallel training: processes that `torchrun` starts share the rows of each step and add their gradients up."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    """One process is a team, too."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def joined(self, module: nn.Module) -> nn.Module:
        """Have the gradients of the module be the mean over the team."""
        return DistributedDataParallel(module) if self.size > 1 else module

    def share(self, rows: torch.Tensor) -> torch.Tensor:
        """Pick what this process does of a step."""
        return rows[self.rank :: self.size]

    def sum(self, value: float) -> float:
        """Add up what the processes have found."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total)

    def agree(self, value: T) -> T:
        """Have all go by what the leader has."""
        if self.size == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said)
        return said[0]


@contextmanager
def team_from_environment() -> Iterator[Team]:
    """Meet the others, where `torchrun` (or what sets its variables) has started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team()
        return
    distributed.init_process_group("gloo")
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
