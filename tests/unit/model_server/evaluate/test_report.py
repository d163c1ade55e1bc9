"""The report tells the figures, and draws what they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from sklearn import metrics

from model_server.evaluate.outcome import Outcome
from model_server.evaluate.pace import Level
from model_server.evaluate.report import calibration, confusion, write_report

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(5)
TRUTH = RANDOM.integers(0, 3, 300)
SCORES = RANDOM.standard_normal((300, 3)) + 2 * np.eye(3)[TRUTH]


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    said = SCORES.argmax(axis=1)
    labels, matrix = confusion(TRUTH, said)
    assert labels.tolist() == [0, 1, 2]
    assert np.array_equal(matrix, metrics.confusion_matrix(TRUTH, said))


def test_calibration_is_the_same_for_logits_and_their_probabilities() -> None:
    probabilities = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
    one, two = calibration(SCORES, TRUTH), calibration(probabilities, TRUTH)
    assert one.error == pytest.approx(two.error)
    assert int(one.rows.sum()) == len(TRUTH)
    assert one.accuracy @ one.rows / len(TRUTH) == pytest.approx((SCORES.argmax(axis=1) == TRUTH).mean())


def test_a_model_that_is_surer_than_it_is_right_is_not_calibrated() -> None:
    said = np.eye(2)[np.zeros(100, int)] * 0.8 + 0.1  # 90 % sure of class 0
    truth = np.arange(100) % 2
    assert calibration(said, truth).error == pytest.approx(0.4)
    assert calibration(said, (np.arange(100) % 10 == 0).astype(int)).error == pytest.approx(0, abs=1e-9)


def test_classes_are_told_with_pictures(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "digest": "sha256:1",
        "rows": 300,
        "metrics": {"accuracy": "0.8", "latency_p50": "0.001"},
        "confidence": 0.95,
        "intervals": {"accuracy": ("0.75", "0.85")},
        "slices": {"y = 0": {"rows": 9, "metrics": {"accuracy": "0.5"}, "intervals": {"accuracy": ("0.2", "0.8")}}},
    }
    outcome = Outcome.of(["accuracy"], SCORES, TRUTH)
    levels = [Level(1, 100.0), Level(2, 180.0)]
    write_report(tmp_path, facts, model="digits", outcome=outcome, seconds=[0.001, 0.002], levels=levels)
    page = (tmp_path / "report.md").read_text()
    for line in (
        "# Evaluation of digits",
        "| accuracy | 0.8 | 0.75 | 0.85 |",
        "| latency_p50 | 0.001 |  |  |",
        "| y = 0 | 9 | 0.5 (0.2 to 0.8) |",
        "95% confidence",
    ):
        assert line in page
    pictures = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert pictures == ["calibration.svg", "confusion.svg", "latency.svg", "throughput.svg"]
    for name in pictures:
        assert f"]({name})" in page
        assert ET.parse(tmp_path / name).getroot().tag.endswith("svg")  # noqa: S314  # our own
    text = (tmp_path / "confusion.svg").read_text()
    assert all(f">{count}<" in text for count in confusion(TRUTH, SCORES.argmax(axis=1))[1].flatten() if count)


def test_numbers_are_told_with_what_is_right(tmp_path: Path) -> None:
    facts = {"digest": "sha256:1", "rows": 300, "metrics": {"mse": "1"}}
    outcome = Outcome.of(["mse"], SCORES[:, :1], TRUTH.astype(float))
    write_report(tmp_path, facts, model="m", outcome=outcome, seconds=[], levels=[])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.svg", "report.md"]
    assert "| mse | 1 |" in (tmp_path / "report.md").read_text()
