"""The plan of who knows the future: a minute's replicas are ready when its requests arrive, and go with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from modelservice_operator.scaling.simulator.autoscalers import Planned

if TYPE_CHECKING:
    from modelservice_operator.scaling.simulator.service import Service, Trace

_STEP: Final = 60.0


def demands(trace: Trace, step: float = _STEP) -> list[float]:
    """Return how many requests would be worked on at a time if none had to wait, as a mean over each step."""
    begin = trace.arrivals[0]
    found = [0.0] * (int(trace.seconds / step) + 1)
    for arrived, work in zip(trace.arrivals, trace.works, strict=True):
        start, end = arrived - begin, min(trace.seconds, arrived - begin + work)
        while start < end:
            at = int(start / step)
            until = min(end, (at + 1) * step)
            found[at] += (until - start) / step
            start = until if until > start else end
    return found


def oracle(trace: Trace, service: Service, share: float) -> Planned:
    """Return the plan that uses a share of the slots."""
    lead = math.ceil(max(service.loads) / _STEP)
    needs = [max(1, math.ceil(each / (share * service.concurrency))) for each in demands(trace)]
    plan = [max(needs[at : at + lead + 1]) for at in range(len(needs))]
    return Planned([trace.arrivals[0] + at * _STEP for at in range(len(plan))], plan)
