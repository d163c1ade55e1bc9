"""Random days of a service whose pods restart, come and go: what Prometheus sees of them, and what really happened.

The share of bad requests is had in three ways: `spent_by_rules` asks Prometheus' engine; `spent_by_formula` does the
same sums over the same samples with an `increase` of its own; `Days.spent` is the truth, with what no scrape ever saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from promtool import History, ask
from stories import DAY, HOUR, OWN, groups, promising, slo

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

STEP: Final = 15
FIVE_MINUTES: Final = 300

Samples = list[int | None]
"""What each scrape found; None: the target was not there."""


@dataclass
class Days:
    """Days of a service."""

    seconds: int
    counters: dict[tuple[str, str], Samples] = field(default_factory=dict)
    """By pod and code."""
    requests: int = 0
    bad: int = 0

    @property
    def spent(self) -> float:
        """The share of requests that were bad, in truth."""
        return self.bad / self.requests

    def history(self) -> History:
        """Return what Prometheus sees; the rules are looked at every five minutes, as often as their sums look back."""
        series = {
            f'model_server_requests_total{{{OWN},pod="{pod}",code="{code}"}}': " ".join(
                "_" if value is None else str(value) for value in samples
            )
            for (pod, code), samples in self.counters.items()
        }
        return History(series, self.seconds, STEP, FIVE_MINUTES)


def days(random: Random, number: int) -> Days:
    """Return so many days: traffic that follows the sun, incidents, rolls, restarts, and hours without any request."""
    found = Days(number * DAY)
    looks = found.seconds // STEP + 1
    busy = random.uniform(0.2, 20)
    incidents = [
        (begin := random.randrange(looks), begin + random.randrange(20, 480), random.uniform(0.01, 0.6))
        for _ in range(4 * number)
    ]
    silence = random.randrange(looks)
    running = [_Pod(f"pod-{index}", 0.0) for index in range(random.randint(1, 4))]
    born = len(running)
    for look in range(looks):
        began, ends = (look - 1) * STEP, look * STEP
        share = max((share for begin, end, share in incidents if begin <= look < end), default=0.0005)
        quiet = silence <= look < silence + 6 * HOUR // STEP
        speed = 0.0 if quiet else busy * (1.1 + math.sin(ends * 2 * math.pi / DAY)) / len(running)
        for pod in list(running):
            dies = look > 0 and random.random() < STEP / (5 * HOUR)
            until = began + random.random() * STEP if dies else ends
            pod.serves(found, random, max(0.0, until - max(began, pod.ready)) * speed, share)
            if dies and random.random() < 0.5:
                pod.restarts(until + random.uniform(20, 120))
            elif dies:
                pod.scraped(found, look, there=False)
                running.remove(pod)
                running.append(_Pod(f"pod-{born}", until + random.uniform(10, 60)))
                born += 1
                continue
            pod.scraped(found, look)
    for samples in found.counters.values():
        samples.extend([None] * (looks - len(samples)))
    return found


@dataclass
class _Pod:
    """One pod: it is scraped while it loads, and serves when it is ready."""

    name: str
    ready: float
    good: int = 0
    bad: int = 0

    def serves(self, found: Days, random: Random, requests: float, share: float) -> None:
        """Answer about so many requests, a share of them badly."""
        events = _poisson(random, requests)
        failed = sum(random.random() < share for _ in range(events))
        self.good, self.bad = self.good + events - failed, self.bad + failed
        found.requests, found.bad = found.requests + events, found.bad + failed

    def restarts(self, ready: float) -> None:
        """Begin anew, with counters at 0."""
        self.ready, self.good, self.bad = ready, 0, 0

    def scraped(self, found: Days, look: int, *, there: bool = True) -> None:
        """Note what a scrape finds."""
        for code, value in (("200", self.good), ("500", self.bad)):
            samples = found.counters.setdefault((self.name, code), [])
            samples.extend([None] * (look - len(samples)))
            samples.append(value if there else None)


def _poisson(random: Random, mean: float) -> int:
    """Draw how many requests come where so many are to be expected."""
    if mean > 30:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    events, left = 0, math.exp(-mean)
    product = random.random()
    while product > left:
        events, product = events + 1, product * random.random()
    return events


# -- the formula


def spent_by_formula(days: Days, *, modern: bool) -> float:
    """Return the share of bad requests that the rules should find, summed up from what every five minutes brought."""
    ends = range(FIVE_MINUTES, days.seconds + 1, FIVE_MINUTES)
    every, bad = (
        math.fsum(
            increase(samples, end, modern=modern)
            for (_, code), samples in days.counters.items()
            if code in codes
            for end in ends
        )
        for codes in (("200", "500"), ("500",))
    )
    return bad / every


def increase(samples: Samples, end: int, *, modern: bool) -> float:
    """Return what Prometheus' `increase` over five minutes gives: since 3.0 without a sample at the very beginning."""
    begin = end - FIVE_MINUTES
    first = begin // STEP + modern
    seen = [(look * STEP, value) for look in range(first, end // STEP + 1) if (value := samples[look]) is not None]
    if len(seen) < 2:
        return 0.0
    values = [value for _, value in seen]
    grown = values[-1] - values[0] + sum(old for old, new in pairwise(values) if new < old)
    covered = seen[-1][0] - seen[0][0]
    gap = covered / (len(seen) - 1)
    before, after = seen[0][0] - begin, end - seen[-1][0]
    to_zero = covered * values[0] / grown if grown > 0 else math.inf
    if modern:
        before = min(before if before < 1.1 * gap else gap / 2, to_zero)
    else:
        before = min(before, to_zero)
        before = before if before < 1.1 * gap else gap / 2
    after = after if after < 1.1 * gap else gap / 2
    return grown * (covered + before + after) / covered


def spent_by_rules(program: Path, found: Days) -> float:
    """Return the share of bad requests that the service's own rules find, under Prometheus' own engine."""
    rules = {rule.get("record"): rule for group in groups(promising(slo=slo(window="7d"))) for rule in group["rules"]}
    counts = [rules["slo:requests:increase5m"], rules["slo:errors:increase5m"]]
    # A minute later, so that no count stands exactly where the sum begins or ends.
    query = (rules["slo:sli_error:ratio_rate1w"]["expr"], found.seconds + 60)
    [[(_, share)]] = ask(program, [{"name": "counts", "rules": counts}], found.history(), [query])
    return share
