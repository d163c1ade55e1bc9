"""Live requests, held against the bounds of an analysis."""

from __future__ import annotations

import math

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import Analysis
from modelservice_operator.monitoring.readings import Counted, Reading
from modelservice_operator.rollout.analysis import find, measured

TERMS = Analysis.model_validate({"minRequests": 100, "maxErrorRate": "1%", "maxLatencyRegression": "20%"})


def reading(requests: int, errors: int | None = 0, seconds: float | None = None) -> Reading:
    """All requests take just up to `seconds`, which is a bound of the histogram."""
    latency = {} if seconds is None else {seconds / 2: 0.0, seconds: float(requests), math.inf: float(requests)}
    return Reading(Counted(requests, errors, latency))


def test_too_few_requests_are_no_ground_for_a_judgement() -> None:
    assert not find(TERMS, None, None).is_enough
    assert not find(TERMS, reading(99, 99), None).is_enough


def test_errors_above_the_bound_are_told_with_their_numbers() -> None:
    found = find(TERMS, reading(200, 3), None)
    assert (found.is_enough, found.reason) == (True, Reason.ERROR_RATE)
    assert found.message == "1.5% of 200 requests failed, and at most 1% may."
    assert find(TERMS, reading(200, 2), None).reason is None


def test_who_is_slower_than_the_stable_revision_allows_is_told_with_both_times() -> None:
    found = find(TERMS, reading(100, seconds=0.2), reading(100, seconds=0.1))
    assert found.reason is Reason.LATENCY_REGRESSION
    assert "195.0ms" in found.message
    assert "97.5ms" in found.message
    assert find(TERMS, reading(100, seconds=0.1), reading(100, seconds=0.1)).reason is None


def test_a_comparison_needs_enough_of_both_and_servers_that_tell() -> None:
    slow = reading(100, seconds=0.2)
    assert find(TERMS, slow, reading(99, seconds=0.1)).reason is None
    assert find(TERMS, slow, None).reason is None
    assert find(TERMS, reading(100, None), reading(100)).reason is None


def test_what_is_kept_of_a_reading_is_what_the_server_tells() -> None:
    assert measured(reading(100, 1)) == {"requests": "100", "error_rate": "0.0100"}
    assert measured(reading(100, None)) == {"requests": "100"}
    assert measured(reading(100, 0, 0.1))["latency_p95_live"] == "0.0975"
