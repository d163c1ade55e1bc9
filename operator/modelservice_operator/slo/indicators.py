"""Which requests count, and which of them are bad, as the server's metrics tell: PromQL over a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelservice_operator.api.types import ObjectiveName
from modelservice_operator.slo.metrics import TORCH, Metrics, series

if TYPE_CHECKING:
    from modelservice_operator.api.duration import Duration
    from modelservice_operator.api.types import Objective


@dataclass(frozen=True, slots=True)
class Indicator:
    """Queries with a hole for the window."""

    total: str
    bad: str

    def total_over(self, window: str) -> str:
        """Return the query for the number of requests."""
        return self.total.replace("WINDOW", window)

    def bad_over(self, window: str) -> str:
        """Return the query for the number of bad ones."""
        return self.bad.replace("WINDOW", window)

    def ratio_over(self, window: str) -> str:
        """Return the query for the share of bad ones: without requests there is none, rather than NaN."""
        return f"{self.bad_over(window)} / ({self.total_over(window)} > 0)"


def indicator(objective: Objective, selector: str, metrics: Metrics) -> Indicator:
    """Return how an objective is measured on the series that `selector` selects."""
    if objective.name is ObjectiveName.AVAILABILITY:
        return availability(selector, metrics)
    histogram = {
        ObjectiveName.LATENCY: metrics.latency,
        ObjectiveName.FIRST_TOKEN: metrics.first_token,
        ObjectiveName.INTER_TOKEN: metrics.inter_token,
    }[objective.name]
    assert objective.threshold is not None  # noqa: S101 - a rule of the type
    # A bucket without its bound belongs to a server of a revision with another threshold: it says nothing here.
    bounds = ('le="+Inf"', _bound(objective.threshold, metrics))
    every, within = (f"increase({series(histogram, selector, each, suffix='_bucket')}[WINDOW])" for each in bounds)
    return Indicator(f"sum({every} and ignoring(le) {within})", f"sum({every} - ignoring(le) {within})")


def availability(selector: str, metrics: Metrics) -> Indicator:
    """Return how availability is measured."""
    total = f"sum(increase({series(metrics.requests, selector)}[WINDOW]))"
    bad = f"sum(increase({series(metrics.errors, selector)}[WINDOW]))"
    return Indicator(total, bad if metrics.errors_are_there else f"({bad} or 0 * {total})")


def _bound(threshold: Duration, metrics: Metrics) -> str:
    """Return the matcher of a bucket's bound; of a whole number there are two notations."""
    seconds = threshold.seconds
    if metrics is TORCH or not seconds.is_integer():
        return f'le="{seconds}"'
    return f'le=~"{int(seconds)}(\\\\.0)?"'
