"""How full a replica is meant to be, learnt from how a promise is kept.

A fixed part of the saturation concurrency is too much room for one service and too little for another. Where a service
promises that a share of its answers come in time, the others may be late, its error budget. So the part rises while
fewer are late than may be, and falls while more are, in small steps that are weighed by the answers: over a long time
as many are late as the steps aim at, whatever the requests are like. (Gibbs and Candès, "Adaptive Conformal Inference
Under Distribution Shift", NeurIPS 2021, has the proof; the falling steps at the beginning are Robbins' and Monro's.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelservice_operator.scaling.policy import TARGET_SHARE

if TYPE_CHECKING:
    from modelservice_operator.scaling.memory import Sample
    from modelservice_operator.scaling.policy import Promise

LEAST: Final = 0.5
MOST: Final = 1.3
"""Above 1 some requests are meant to wait: where they are long, and a pod is there sooner than they are late."""

_SPENT: Final = 0.95
"""So much of the error budget is meant to be spent; the rest is for what nobody has seen yet."""
_HOUR: Final = 3600.0
_FIRST_STEP, _LAST_STEP = 20.0, 2.0
"""By so much the part would fall in an hour in which all are late: in the first hour, and after the tenth."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known of how full a replica may be."""

    share: float = TARGET_SHARE
    """Of its saturation concurrency."""
    seconds: float = 0.0
    """For how long it has been learnt."""
    answered: float = 0.0
    """Requests, those of an hour ago less than those of now."""

    def after(self, sample: Sample, seconds: float, promise: Promise) -> Learnt:
        """Return it after what was answered in these seconds."""
        if sample.answered is None or sample.late is None or seconds <= 0:
            return self
        known = self.seconds + seconds
        answered = self.answered * math.exp(-seconds / _HOUR) + sample.answered
        usual = answered / (_HOUR * (1 - math.exp(-known / _HOUR)))  # in a second
        step = min(_FIRST_STEP, max(_LAST_STEP, _FIRST_STEP * _HOUR / known)) / _HOUR
        unspent = _SPENT * promise.late * sample.answered - sample.late
        share = self.share + (step * unspent / usual if usual else 0.0)
        return Learnt(max(LEAST, min(MOST, share)), known, answered)
