"""Which candidate is served: the smallest within the bounds that no other beats in everything (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Measured:
    """What a candidate costs, and what it is worth. Less is better, of each."""

    name: str
    lost: float
    """Points of accuracy; for numbers, percent of the error that came on top. Below 0: it became better."""
    latency: float
    """The time of a forward pass, as a share of what it is now."""
    size: float
    """Of the weights, as a share of what it is now."""
    figure: float
    """Accuracy, or the root of the mean squared error."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a candidate must keep; None bounds nothing."""

    lost: float
    size: float | None = None
    latency: float | None = None

    def hold(self, candidate: Measured) -> bool:
        """Say whether a candidate keeps them."""
        return (
            candidate.lost <= self.lost
            and (self.size is None or candidate.size <= self.size)
            and (self.latency is None or candidate.latency <= self.latency)
        )


def front(candidates: Sequence[Measured]) -> list[Measured]:
    """Return those that no other beats: Pareto's front of accuracy, latency and size."""
    return [one for one in candidates if not any(_beats(other, one) for other in candidates)]


def best(candidates: Sequence[Measured], bounds: Bounds) -> Measured | None:
    """Return the smallest of the front within the bounds, then the fastest, then the most accurate."""
    within = [candidate for candidate in front(candidates) if bounds.hold(candidate)]
    return min(within, key=lambda one: (one.size, one.latency, one.lost), default=None)


def _beats(one: Measured, other: Measured) -> bool:
    mine = (one.lost, one.latency, one.size)
    theirs = (other.lost, other.latency, other.size)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))
