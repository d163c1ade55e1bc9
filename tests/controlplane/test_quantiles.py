"""Quantiles of readings against those of Prometheus' own engine, over random histograms."""

from __future__ import annotations

import math
import random
from itertools import accumulate

import pytest

import promtool
from modelservice_operator.monitoring.readings import quantile
from promtool import History

CASES = 300
SHARES = (0.05, 0.5, 0.95, 1.0)


def histograms() -> list[dict[float, float]]:
    """Some have empty buckets, one bound only, bounds that are not positive, or buckets that cannot be true."""
    chance = random.Random(7)  # noqa: S311 (the same histograms each time)
    found = []
    for case in range(CASES):
        bounds = sorted(
            {round(chance.uniform(-1 if case % 5 == 0 else 0.001, 10), 3) for _ in range(chance.randint(1, 8))}
        )
        counts = [chance.choice([0, 1, chance.randint(0, 1000)]) for _ in range(len(bounds) + 1)]
        counts[-1] += 1  # Prometheus has NaN where there is nothing
        totals = [*accumulate(counts)]
        if case % 7 == 0:
            totals[chance.randrange(len(totals) - 1)] += chance.randint(1, 100)
        found.append(dict(zip([*bounds, math.inf], map(float, totals), strict=True)))
    return found


def test_quantiles_are_those_of_prometheus() -> None:
    cases = histograms()
    series = {
        f'x_bucket{{case="{case}",le="{"+Inf" if bound == math.inf else bound}"}}': str(count)
        for case, buckets in enumerate(cases)
        for bound, count in buckets.items()
    }
    queries = [(f"histogram_quantile({share}, x_bucket)", 0) for share in SHARES]
    answers = promtool.ask(promtool.newest(), [], History(series, 0), queries)
    for share, answer in zip(SHARES, answers, strict=True):
        theirs = {int(labels["case"]): value for labels, value in answer}
        assert theirs == {case: pytest.approx(quantile(share, cases[case]), rel=1e-12) for case in range(CASES)}
