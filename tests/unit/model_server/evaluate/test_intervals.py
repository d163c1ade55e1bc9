"""Intervals are scipy's, the same for the same rows, and hold as often as they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from model_server.evaluate import intervals
from model_server.evaluate.scores import CLASSIFICATION, REGRESSION, Tally

if TYPE_CHECKING:
    from model_server.protocol.datatypes import Array

RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.integers(0, 3, 400)
SAID = np.where(RANDOM.random(400) < 0.7, TRUTH, RANDOM.integers(0, 3, 400))
OFF = RANDOM.standard_normal((400, 2)) * (1, 3)


@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_intervals_of_classes_are_those_of_scipy(name: str) -> None:
    def score(truth: Array, said: Array) -> float:
        return CLASSIFICATION[name](Tally.of(truth, said))

    ours = intervals.of_classes(TRUTH, SAID, [name], 0.9)[name]
    theirs = stats.bootstrap(
        (TRUTH, SAID), score, paired=True, vectorized=False, n_resamples=1000, confidence_level=0.9,
        method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    assert ours == pytest.approx(tuple(theirs), abs=0.01)  # both are drawn
    assert ours[0] < CLASSIFICATION[name](Tally.of(TRUTH, SAID)) < ours[1]


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_intervals_of_numbers_are_those_of_scipy(name: str) -> None:
    ours = intervals.of_numbers(OFF, [name], 0.9)[name]
    per_row = (OFF**2 if name == "mse" else np.abs(OFF)).mean(axis=1)
    theirs = stats.bootstrap(
        (per_row,), np.mean, n_resamples=1000, confidence_level=0.9, method="percentile", rng=1
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), rel=0.03)
    assert ours[0] < REGRESSION[name](OFF) < ours[1]


def test_the_same_rows_have_the_same_interval() -> None:
    once, twice = (intervals.of_classes(TRUTH, SAID, ["f1", "recall"], 0.95) for _ in range(2))
    assert once == twice


def test_more_rows_and_less_confidence_make_intervals_narrow() -> None:
    def width(rows: int, confidence: float) -> float:
        low, high = intervals.of_classes(TRUTH[:rows], SAID[:rows], ["accuracy"], confidence)["accuracy"]
        return high - low

    assert width(400, 0.95) < width(50, 0.95)
    assert width(400, 0.5) < width(400, 0.95)


def test_a_model_that_is_always_right_leaves_no_doubt() -> None:
    assert intervals.of_classes(TRUTH, TRUTH, ["accuracy", "f1"], 0.95) == {"accuracy": (1, 1), "f1": (1, 1)}


def test_a_class_that_is_not_drawn_does_not_count_as_one_that_is_missed() -> None:
    truth = np.array([0] * 30 + [1])
    assert intervals.of_classes(truth, truth, ["f1"], 0.95) == {"f1": (1, 1)}


def test_times_vary_less_in_the_middle_than_at_the_end() -> None:
    seconds = np.random.default_rng(0).exponential(0.01, 200).tolist()
    found = intervals.of_times(seconds, {"latency_p50": 50, "latency_p99": 99}, 0.95)
    widths = {name: high - low for name, (low, high) in found.items()}
    assert 0 < widths["latency_p50"] < widths["latency_p99"]
