"""What is modelled of a service, what an autoscaler may see of it, and what a replay shows. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

ATTAINED: Final = 0.95
"""For so many of the requests the objective is promised."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests, in the order of their arrival."""

    name: str
    arrivals: Sequence[float]
    works: Sequence[float]
    """How long a replica works on each, if it has a free slot."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.arrivals[-1] - self.arrivals[0]


@dataclass(frozen=True, slots=True)
class Service:
    """A model as it is served."""

    concurrency: int
    """So many requests are worked on at a time: what an evaluation measures as saturation."""
    objective: float
    """A request is within the objective if it is answered in this time."""
    loads: Sequence[float]
    """From asking for a replica to its being ready: one of these, by chance."""
    max_replicas: int
    """So many accelerators there are."""
    min_replicas: int = 1
    max_queue: int = 256
    """So many may wait for one replica; the next is refused."""
    timeout: float = float("inf")
    """Who has waited for so long has gone."""
    attained: float = ATTAINED


@dataclass(frozen=True, slots=True)
class Signal:
    """What can be seen of a service at one moment."""

    time: float
    asked: int
    """Replicas that were asked for."""
    ready: int
    starting: int
    """Replicas that load, or wait for an accelerator."""
    inflight: int
    """Requests that ready replicas have, worked on or queued."""
    busy: int
    """Those that are worked on."""
    inflight_seconds: float
    """The sum of `inflight` over all time before."""
    busy_seconds: float
    answered: int
    """By ready replicas, since the beginning."""
    late: int
    """Those of them that were not within the objective."""


class Autoscaler(Protocol):
    """Anything that says how many replicas there should be."""

    every: float
    """It is asked so often."""

    def __call__(self, signal: Signal) -> int:
        """Return how many replicas there should be."""


@dataclass(slots=True)
class Result:
    """What a replay shows."""

    requests: int = 0
    within: int = 0
    """Requests answered within the objective."""
    replica_seconds: float = 0.0
    """From when each replica takes an accelerator, loading, until it has drained."""
    started: int = 0
    """Replicas that were started."""
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """From when on how many were asked for."""

    @property
    def attainment(self) -> float:
        """The share of requests within the objective."""
        return self.within / self.requests

    @property
    def replica_hours(self) -> float:
        """What it costs."""
        return self.replica_seconds / 3600
