"""What an evaluation measured, held against its bounds."""

from __future__ import annotations

import pytest

from modelservice_operator.api.types import Evaluation
from modelservice_operator.rollout.gates import DATASET, GateVerdict, gates

A, B = {DATASET: "sha256:a"}, {DATASET: "sha256:b"}


def verdict(metric: dict[str, str], measured: dict[str, str], stable: dict[str, str] | None = None) -> GateVerdict:
    terms = Evaluation.model_validate({"dataset": {"uri": "s3://models/x.npz"}, "metrics": [metric]})
    return gates(terms, measured, stable or {})[0].verdict


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ({"name": "f1", "min": "0.90"}, "0.9", "Passed"),
        ({"name": "f1", "min": "0.90"}, "0.8999", "Failed"),
        ({"name": "latency_p95", "max": "50ms"}, "0.05", "Passed"),
        ({"name": "latency_p95", "max": "50ms"}, "0.0501", "Failed"),
        ({"name": "latency_p95", "max": "1.5s"}, "1.2", "Passed"),
        ({"name": "mae", "min": "0.1", "max": "0.3"}, "0.4", "Failed"),
        ({"name": "f1", "min": "0.90"}, "NaN", "Pending"),
        ({"name": "f1", "min": "0.90"}, "many", "Pending"),
    ],
)
def test_a_bound_is_kept_or_not(metric: dict[str, str], value: str, expected: str) -> None:
    assert verdict(metric, {metric["name"]: value}) == expected


def test_what_was_not_measured_is_pending() -> None:
    assert verdict({"name": "f1", "min": "0.90"}, {}) is GateVerdict.PENDING


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("f1", "0.91", "Passed"),
        ("f1", "0.89", "Failed"),
        ("f1", "0.99", "Passed"),
        ("mse", "0.91", "Passed"),
        ("mse", "0.93", "Failed"),
        ("latency_p50", "0.1", "Passed"),
    ],
)
def test_a_regression_is_a_fall_of_some_and_a_rise_of_others(name: str, value: str, expected: str) -> None:
    found = verdict({"name": name, "maxRegression": "0.01"}, {name: value} | A, {name: "0.915"} | A)
    assert found == expected


def test_a_stable_revision_that_was_measured_on_other_data_or_not_at_all_is_no_measure() -> None:
    metric = {"name": "f1", "maxRegression": "0.01"}
    assert verdict(metric, {"f1": "0.1"} | A, {"f1": "0.9"} | B) is GateVerdict.PASSED
    assert verdict(metric, {"f1": "0.1"} | A, {}) is GateVerdict.PASSED


def test_the_limits_are_told_in_words() -> None:
    metric = {"name": "f1", "min": "0.9", "maxRegression": "0.01"}
    terms = Evaluation.model_validate({"dataset": {"uri": "s3://models/x.npz"}, "metrics": [metric]})
    (gate,) = gates(terms, {"f1": "0.85"} | A, {"f1": "0.92"} | A)
    assert (
        gate.sentence == "f1 is 0.85, and must be at least 0.9 and at most 0.01 worse than the stable revision (0.92)"
    )
