"""Builtin as shipped, a fixed number, and a plan that is known beforehand."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelservice_operator.scaling.decision import decide
from modelservice_operator.scaling.memory import Memory, Sample
from modelservice_operator.scaling.policy import TARGET_SHARE, Policy, Promise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelservice_operator.scaling.simulator.service import Service, Signal


@dataclass(slots=True)
class Builtin:
    """The decision of the operator, fed as the operator feeds it."""

    policy: Policy
    memory: Memory = field(default_factory=Memory)
    answered: int = 0
    late: int = 0
    every: float = 5.0
    """The operator looks so often."""

    @classmethod
    def shipped(cls, service: Service) -> Builtin:
        """Return it as a service gets it that says nothing but its bounds and what it promises."""
        target = TARGET_SHARE * service.concurrency
        promise = Promise(service.objective, 1 - service.attained)
        return cls(Policy(target, promise, min_replicas=service.min_replicas, max_replicas=service.max_replicas))

    def __call__(self, signal: Signal) -> int:
        """Decide as the operator does."""
        answered, late = signal.answered - self.answered, signal.late - self.late
        sample = Sample(signal.time, signal.inflight, signal.ready, signal.ready, signal.starting, answered, late)
        decision = decide(self.policy, self.memory, sample, signal.time, signal.asked)
        self.memory, self.answered, self.late = decision.memory, signal.answered, signal.late
        return decision.replicas


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always as many."""

    replicas: int
    every: float = 3600.0

    def __call__(self, _: Signal) -> int:
        """Return it."""
        return self.replicas


@dataclass(frozen=True, slots=True)
class Planned:
    """From each time on as many as the plan says."""

    times: Sequence[float]
    replicas: Sequence[int]
    every: float = 10.0

    def __call__(self, signal: Signal) -> int:
        """Look it up."""
        return self.replicas[max(0, bisect_right(self.times, signal.time) - 1)]
