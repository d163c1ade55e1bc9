"""What an autoscaler has seen lately: bounded, and worth nothing after a while, so it is kept nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modelservice_operator.scaling.learning import Learnt

if TYPE_CHECKING:
    from modelservice_operator.scaling.policy import Policy


@dataclass(frozen=True, slots=True)
class Sample:
    """What the pods that carry traffic told at one look."""

    time: float
    """In seconds since the epoch, as all times here."""
    inflight: float
    """Requests without an answer, worked on or queued, of all pods that told."""
    told: int
    """How many pods told."""
    ready: int
    """How many should have told."""
    starting: int
    """How many are there but load still, or wait for a node."""
    answered: float | None = None
    """How many requests they have answered since the sample before; None: not known."""
    late: float | None = None
    """How many of those took longer than is promised; None: nothing is, or it is not known."""


@dataclass(frozen=True, slots=True)
class Look:
    """A sample, and how many replicas were needed then."""

    sample: Sample
    wanted: int
    needed: float = 0.0
    """Requests, by the stable window."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known when the next sample comes."""

    now: float | None = None
    """When it was decided last."""
    looks: tuple[Look, ...] = ()
    """Without a gap that is too long, the oldest first."""
    lowered: float | None = None
    """When replicas were taken away last."""
    learnt: Learnt = field(default_factory=Learnt)
    """Also after a look at which all else began anew."""

    def at(self, now: float) -> Memory:
        """Return it after a decision in which nothing new was seen."""
        return replace(self, now=now)

    def seeing(self, look: Look, policy: Policy) -> Memory:
        """Return it with one look more, without what is older than any window, but for one look that reaches back."""
        looks = self.looks
        if looks and look.sample.time - looks[-1].sample.time > policy.longest_gap:
            looks = ()
        since = look.sample.time - max(policy.stable_window, policy.scale_down_delay)
        older = sum(each.sample.time <= since for each in looks)
        return replace(self, looks=(*looks[max(0, older - 1) :], look))

    def asking(self, wanted: int, needed: float | None = None) -> Memory:
        """Return it with what the last look asks for."""
        last = self.looks[-1]
        look = Look(last.sample, wanted, last.needed if needed is None else needed)
        return replace(self, looks=(*self.looks[:-1], look))

    def lowering(self, now: float) -> Memory:
        """Return it after replicas were taken away."""
        return replace(self, lowered=now)

    def reaches(self, since: float) -> bool:
        """Tell whether there is no time after this one that was not watched."""
        return bool(self.looks) and self.looks[0].sample.time <= since

    def after(self, since: float) -> tuple[Look, ...]:
        """Return the looks after a time."""
        return tuple(each for each in self.looks if each.sample.time > since)
