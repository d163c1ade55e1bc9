"""What the pods of each revision have answered since a moment, from what they tell at each look.

Counters are followed as Prometheus' `increase` does, but in whole events: nothing is extrapolated, a pod that is born
meanwhile begins at zero, one that starts anew goes on from what it had, and one that is gone keeps what it told last.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelservice_operator.monitoring.exposition import Buckets, Snapshot

Outcome: TypeAlias = "Snapshot | str"
"""What a pod told, or a sentence that says why it did not."""

_SAME_BIRTH_SECONDS = 1.0  # some compute it anew at each look


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that is looked at."""

    name: str
    revision: str
    started: str
    """When its server was started, as Kubernetes writes times."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted, in a while or by several."""

    requests: float = 0.0
    errors: float | None = None
    latency: Buckets = field(default_factory=dict)

    def __add__(self, other: Counted) -> Counted:
        """Add up; what only one of them tells counts as it is."""
        errors = [each for each in (self.errors, other.errors) if each is not None]
        bounds = {**self.latency, **other.latency}
        latency = {bound: self.latency.get(bound, 0.0) + other.latency.get(bound, 0.0) for bound in bounds}
        return Counted(self.requests + other.requests, sum(errors) if errors else None, latency)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a revision."""

    counted: Counted = field(default_factory=Counted)
    pods: int = 0
    """How many told at the last look."""
    silent: tuple[str, ...] = ()
    """Why others did not: with any, less may be known than happened."""
    inflight: float | None = None
    """Requests without an answer at the last look, of all pods that told; None: their server does not tell."""
    waiting: float | None = None
    """Those of them that waited."""
    saturation: float | None = None
    """Which share of the requests without an answer waited, over all looks: at a half, requests wait as long as they
    are worked on."""

    @property
    def requests(self) -> float:
        """How many were answered."""
        return self.counted.requests

    @property
    def errors(self) -> float | None:
        """How many of them failed their user; None: the server does not tell."""
        return self.counted.errors

    @property
    def error_rate(self) -> float | None:
        """The share that failed; None without requests."""
        return self.errors / self.requests if self.errors is not None and self.requests else None

    @property
    def p95_seconds(self) -> float | None:
        """The time within which 95 % were answered, as Prometheus estimates it."""
        return quantile(0.95, self.counted.latency)


@dataclass(frozen=True, slots=True)
class _Followed:
    """One pod, as it has been seen until now."""

    pod: Pod
    last: Snapshot | None = None
    counted: Counted = field(default_factory=Counted)
    looks_inflight: float = 0.0  # added up over all looks
    looks_waiting: float = 0.0
    silence: str | None = None  # why it did not tell at the last look; empty: it was not asked any more


@dataclass(frozen=True, slots=True)
class Account:
    """What the pods of one service have told since a moment."""

    since: str
    """As Kubernetes writes times."""
    pods: Mapping[str, _Followed] = field(default_factory=dict)

    def after(self, look: Iterable[tuple[Pod, Outcome]]) -> Account:
        """Return it after one more look at the pods that there are."""
        gone = {name: replace(each, silence="") for name, each in self.pods.items()}
        seen = {pod.name: self._followed(pod, outcome) for pod, outcome in look}
        return replace(self, pods=gone | seen)

    def _followed(self, pod: Pod, outcome: Outcome) -> _Followed:
        before = self.pods.get(pod.name, _Followed(pod))
        if isinstance(outcome, str):
            return replace(before, silence=outcome)
        # What began before the moment and is seen only now has counted who knows what: it counts from here on.
        is_new = before.last is None and pod.started <= self.since
        news = Counted(0.0, _zero(outcome.errors)) if is_new else increase(before.last, outcome)
        return _Followed(
            pod,
            last=outcome,
            counted=before.counted + news,
            looks_inflight=before.looks_inflight + (outcome.inflight or 0.0),
            looks_waiting=before.looks_waiting + (outcome.waiting or 0.0),
        )

    def readings(self) -> dict[str, Reading]:
        """Return what is known, by revision."""
        of_revision: dict[str, list[_Followed]] = {}
        for each in self.pods.values():
            of_revision.setdefault(each.pod.revision, []).append(each)
        return {revision: _reading(pods) for revision, pods in of_revision.items()}


def increase(before: Snapshot | None, after: Snapshot) -> Counted:
    """Return what a server has counted between two snapshots; all of it, if it was started in between."""
    if before is None or _has_restarted(before, after):
        return Counted(after.requests, after.errors, after.latency)
    errors = after.errors if after.errors is None or before.errors is None else after.errors - before.errors
    latency = {bound: count - before.latency.get(bound, 0.0) for bound, count in after.latency.items()}
    return Counted(after.requests - before.requests, errors, latency)


def _has_restarted(before: Snapshot, after: Snapshot) -> bool:
    """Tell whether a server has begun to count anew: it says so, or something has become less."""
    if before.born is not None and after.born is not None and abs(after.born - before.born) > _SAME_BIRTH_SECONDS:
        return True
    return (
        after.requests < before.requests
        or (after.errors or 0.0) < (before.errors or 0.0)
        or any(after.latency.get(bound, 0.0) < count for bound, count in before.latency.items())
    )


def _reading(pods: Iterable[_Followed]) -> Reading:
    pods = list(pods)
    counted = Counted()
    for each in pods:
        counted += each.counted
    told = [each.last for each in pods if each.silence is None and each.last is not None]
    inflight, waiting = sum(each.looks_inflight for each in pods), sum(each.looks_waiting for each in pods)
    tells = any(each.last is not None and each.last.waiting is not None for each in pods)
    return Reading(
        counted,
        pods=len(told),
        silent=tuple(sorted(f"pod {each.pod.name} {each.silence}" for each in pods if each.silence)),
        inflight=_sum(each.inflight for each in told),
        waiting=_sum(each.waiting for each in told),
        saturation=(waiting / inflight if inflight else 0.0) if tells else None,
    )


def quantile(share: float, buckets: Buckets) -> float | None:
    """Return within what a share (above 0) of the values lies; None where nobody can tell.

    The formula is that of Prometheus' `histogram_quantile` (bucketQuantile in promql/quantile.go): within a bucket
    values are taken to lie evenly, and what is above the last bound lies there.
    """
    bounds = sorted(buckets)
    counts = list(accumulate((buckets[bound] for bound in bounds), max))
    if len(bounds) < 2 or bounds[-1] != math.inf or not counts[-1]:  # noqa: PLR2004 (the last bound is no number)
        return None
    rank = share * counts[-1]
    at = bisect_left(counts, rank, hi=len(counts) - 1)
    if at == len(counts) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    start, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    return start + (bounds[at] - start) * ((rank - below) / (counts[at] - below))


def _sum(values: Iterable[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) if known else None


def _zero(value: float | None) -> float | None:
    return None if value is None else 0.0
