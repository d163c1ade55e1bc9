"""How many requests would be worked on at a time if none had to wait, and if those that wait now were worked off soon.

As long as no pod is full, that is what is in flight (Little's law: arrivals a second, times seconds to work on each).
Once they are full a queue grows, and its length says how long it has grown, not how many replicas are missing: who
scales by it asks for more and more while the pods load that will be enough. Then arrivals are told from answers, and
the queue counts for no more than what works it off in five minutes.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelservice_operator.scaling.memory import Look, Sample
    from modelservice_operator.scaling.policy import Policy

_SOON: Final = 300.0
"""In so many seconds a queue is to be worked off."""
_MOST: Final = 4.0
"""So many times what pods work on is the most that may be concluded from them: few answers are a weak witness."""


def demand(policy: Policy, looks: Sequence[Look], window: float) -> float:
    """Return it for the last seconds of what was seen."""
    since = looks[-1].sample.time - window
    seen = [each.sample for each in looks if each.sample.time > since]
    before = looks[len(looks) - len(seen) - 1].sample if len(looks) > len(seen) else None
    worked = fmean(min(each.inflight, each.told * policy.saturation) for each in seen)
    queued = fmean(each.inflight for each in seen) - worked
    if not queued:
        return worked
    answered = _answered(seen, before)
    if not answered:
        return worked + queued
    begin = before or seen[0]
    arrived = answered + seen[-1].inflight - begin.inflight
    work = worked * (seen[-1].time - begin.time) / answered  # seconds, by Little's law
    needed = worked * max(0.0, arrived) / answered + queued * work / _SOON
    return min(worked + queued, _MOST * worked, needed)


def is_known(policy: Policy, looks: Sequence[Look]) -> bool:
    """Tell whether a growing queue is told apart from more arrivals."""
    sample = looks[-1].sample
    return sample.answered is not None or sample.inflight <= sample.told * policy.saturation


def _answered(seen: Sequence[Sample], before: Sample | None) -> float | None:
    """Return how many were answered after the look before, or the first one; None: not known."""
    counted = [each.answered for each in (seen if before else seen[1:])]
    if any(each.told < each.ready for each in seen):
        return None
    known = [each for each in counted if each is not None]
    return sum(known) if len(known) == len(counted) else None
