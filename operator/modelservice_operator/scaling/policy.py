"""What an autoscaler of engine Builtin is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelservice_operator.scaling.schedule import Schedule, in_force

TARGET_SHARE: Final = 0.7
"""The part of a replica's saturation concurrency that is meant to be used as long as nothing better is known; the rest
is for bursts."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Of the answers no more than a share takes longer than these seconds."""

    seconds: float
    late: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """How few and how many replicas there may be, and who says so."""

    min_replicas: int
    max_replicas: int
    schedule: Schedule | None = None

    def __contains__(self, replicas: int) -> bool:
        return self.min_replicas <= replicas <= self.max_replicas

    def nearest(self, replicas: int) -> int:
        """Return the number within the bounds that is nearest."""
        return max(self.min_replicas, min(self.max_replicas, replicas))


@dataclass(frozen=True, slots=True)
class Policy:
    """How a service is scaled. Times are in seconds."""

    target: float
    """So many requests, worked on or queued, are meant for each replica."""
    promise: Promise | None = None
    """How full replicas may be is learnt from how it is kept; None: the target stays."""
    min_replicas: int = 1
    max_replicas: int = 1
    schedules: tuple[Schedule, ...] = ()
    scale_down_delay: float = 120.0
    """Fewer replicas must have been enough for so long."""
    scale_down_step: float = 0.25
    """The most that goes at once, as a part of the replicas; one at least."""
    scale_down_period: float = 30.0
    """From one step down to the next."""
    stable_window: float = 20.0
    """Short: what it asks for is kept for the delay, so a load that varies gets by itself the room that it needs."""
    panic_window: float = 10.0
    panic_factor: float = 2.0
    """The shorter window counts when it asks for so many times the replicas."""
    tolerance: float = 0.15
    """By so much of itself the target may be passed before replicas are added."""
    patience: float = 30.0
    """What was seen longer ago is stale."""
    longest_gap: float = 60.0
    """Between looks; after a longer one the windows begin anew."""

    def bounds(self, now: float) -> Bounds:
        """Return the bounds at a time; a minimum beats a maximum that is less."""
        schedule = in_force(self.schedules, now)
        least, most = self.min_replicas, self.max_replicas
        if schedule is not None:
            least = least if schedule.min_replicas is None else schedule.min_replicas
            most = most if schedule.max_replicas is None else schedule.max_replicas
        return Bounds(least, max(least, most), schedule)

    @property
    def saturation(self) -> float:
        """So many requests keep a replica busy; what is more of them waits."""
        return self.target / TARGET_SHARE
