"""Makers of what an autoscaler sees, look by look."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modelservice_operator.scaling import Decision, Memory, Policy, Sample, decide

if TYPE_CHECKING:
    from collections.abc import Iterable

POLICY = Policy(target=7, min_replicas=1, max_replicas=20, scale_down_delay=300.0)  # a replica is full with 10
EVERY = 5.0
BEGIN = 1_000_000.0


@dataclass
class Life:
    """A service whose pods are there as soon as they are asked for, unless a look says otherwise."""

    policy: Policy = POLICY
    replicas: int = 3
    now: float = BEGIN
    memory: Memory = field(default_factory=Memory)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def last(self) -> Decision:
        return self.decisions[-1]

    def look(self, inflight: float | None, *, after: float = EVERY, **changes: object) -> Decision:
        """Decide once; None: there is no sample."""
        self.now += after
        sample = None
        if inflight is not None:
            sample = replace(Sample(self.now, inflight, self.replicas, self.replicas, 0), **changes)  # type: ignore[arg-type]
        found = decide(self.policy, self.memory, sample, self.now, self.replicas)
        self.decisions.append(found)
        self.replicas, self.memory = found.replicas, found.memory
        return found

    def looks(self, inflights: Iterable[float | None], **changes: object) -> Life:
        for each in inflights:
            self.look(each, **changes)
        return self

    def steady(self, inflight: float | None, seconds: float, **changes: object) -> Life:
        return self.looks([inflight] * round(seconds / EVERY), **changes)
