"""Two sides measured in turns, so that a noisy machine meets both."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def in_turns(rounds: int, one: Callable[[], float], other: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Measure both once a round; who comes first changes from round to round."""
    seen: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for side in ((0, 1), (1, 0))[turn % 2]:
            seen[side].append((one, other)[side]())
    return seen


def times_faster(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Return how many times faster ours is: the median over rounds, each of which has both."""
    return round(statistics.median(a / b for a, b in zip(theirs, ours, strict=True)), 3)
