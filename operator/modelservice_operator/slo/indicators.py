"""Which requests count, and which of them are bad, as the model server's metrics tell: PromQL over a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelservice_operator.api.types import ObjectiveName

if TYPE_CHECKING:
    from modelservice_operator.api.types import Objective

# What the service refuses because it is full (429) fails its users as much as what it could not do (5xx).
FAILED = "429|5.."


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


def indicator(objective: Objective, selector: str) -> Indicator:
    """Return how an objective is measured on the series that `selector` selects."""
    if objective.name is ObjectiveName.AVAILABILITY:
        return availability(selector)
    assert objective.threshold is not None  # noqa: S101 - a rule of the type
    # A bucket without its bound belongs to a server of a revision with another threshold: it says nothing here.
    buckets = "model_server_request_duration_seconds_bucket"
    every = f'increase({buckets}{{{selector},le="+Inf"}}[WINDOW])'
    within = f'increase({buckets}{{{selector},le="{objective.threshold.seconds}"}}[WINDOW])'
    return Indicator(f"sum({every} and ignoring(le) {within})", f"sum({every} - ignoring(le) {within})")


def availability(selector: str) -> Indicator:
    """Return how availability is measured."""
    requests = "model_server_requests_total"
    return Indicator(
        f"sum(increase({requests}{{{selector}}}[WINDOW]))",
        f'sum(increase({requests}{{{selector},code=~"{FAILED}"}}[WINDOW]))',
    )
