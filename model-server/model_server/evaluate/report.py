"""The report on an evaluation: figures with what they are worth, slices, and pictures of what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server import charts
from model_server.page import Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model_server.evaluate.outcome import Outcome
    from model_server.evaluate.pace import Level
    from model_server.protocol.datatypes import Array

MOST_CLASSES = 30  # more do not fit into a picture
_BINS = 10
_MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of answers that are about as sure: how sure they are, how often they are right, how many there are."""

    confidence: Array
    accuracy: Array
    rows: Array

    @property
    def error(self) -> float:
        """By how much the two differ, on average over the rows."""
        return float(np.abs(self.confidence - self.accuracy) @ self.rows / self.rows.sum())


def calibration(answers: Array, truth: Array) -> Calibration:
    """Compare the probability of the class that is given with how often it is right, in ten steps.

    Rows that are no probabilities are taken as logits (softmax).
    """
    scores = answers.astype(np.float64)
    if scores.min() < 0 or not np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    sure, right = scores.max(axis=1), scores.argmax(axis=1) == truth
    step = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(step, minlength=_BINS)
    kept = rows > 0
    confidence, accuracy = (np.bincount(step, values, minlength=_BINS)[kept] / rows[kept] for values in (sure, right))
    return Calibration(confidence, accuracy, rows[kept])


def confusion(truth: Array, said: Array) -> tuple[Array, Array]:
    """Return the classes and, for each that is right, how often each was given."""
    labels, index = np.unique(np.concatenate((truth, said)), return_inverse=True)
    cells = index[: len(truth)] * len(labels) + index[len(truth) :]
    return labels, np.bincount(cells, minlength=len(labels) ** 2).reshape(len(labels), len(labels))


def write_report(
    directory: Path,
    facts: Mapping[str, Any],
    *,
    model: str,
    outcome: Outcome | None,
    seconds: Sequence[float],
    levels: Sequence[Level],
) -> None:
    """Write the page and its pictures."""
    page = Page(f"Evaluation of {model}")
    page.text(f"{facts['rows']} rows of the data set `{facts['digest']}`.")
    _tell_figures(page, facts)
    if outcome is not None and outcome.said is not None:
        _tell_classes(page, outcome.truth, outcome.said)
        if outcome.answers.ndim == 2 and outcome.answers.shape[1] > 1:  # noqa: PLR2004  # a column for each class
            _tell_calibration(page, calibration(outcome.answers, outcome.truth))
    elif outcome is not None:
        page.heading("Answers")
        said, right = outcome.answers.reshape(-1), outcome.truth.reshape(-1)
        page.picture("answers", charts.against(right, said, x="right", y="answered"), "answered against right")
    if seconds:
        page.heading("Latency")
        milliseconds = [_MILLISECONDS * second for second in seconds]
        page.picture("latency", charts.histogram(milliseconds, x="milliseconds", y="requests"), "times of requests")
    if levels:
        page.heading("Throughput")
        rates = {"requests per second": [level.per_second for level in levels]}
        counts = [level.concurrency for level in levels]
        page.picture("throughput", charts.curves(rates, at=counts, x="in flight", y="per second"), "rate over load")
    page.write(directory)


def _tell_figures(page: Page, facts: Mapping[str, Any]) -> None:
    intervals = facts.get("intervals", {})
    head = ("metric", "value", *(("from", "to") if intervals else ()))
    page.table(
        head,
        [(name, value, *intervals.get(name, ("", ""))[: len(head) - 2]) for name, value in facts["metrics"].items()],
    )
    if intervals:
        page.text(f"From and to: {facts['confidence']:.0%} confidence, bootstrap over rows or requests.")
    if slices := facts.get("slices"):
        page.heading("Slices")
        names = list(next(iter(slices.values()))["metrics"])
        page.table(
            ("slice", "rows", *names),
            [
                (name, part["rows"], *(_with_interval(part, metric) for metric in names))
                for name, part in slices.items()
            ],
        )


def _with_interval(part: Mapping[str, Any], metric: str) -> str:
    value = part["metrics"][metric]
    if metric not in part.get("intervals", {}):
        return str(value)
    low, high = part["intervals"][metric]
    return f"{value} ({low} to {high})"


def _tell_classes(page: Page, truth: Array, said: Array) -> None:
    labels, matrix = confusion(truth, said)
    page.heading("Classes")
    if len(labels) <= MOST_CLASSES:
        page.picture("confusion", charts.grid(matrix, labels, x="answered", y="right"), "confusion matrix")
    wrong = [(matrix[row, column], labels[row], labels[column]) for row, column in np.argwhere(matrix) if row != column]
    worst = sorted(wrong, key=lambda cell: (-cell[0], cell[1], cell[2]))[:10]
    if worst:
        page.table(("rows", "right", "answered"), worst)


def _tell_calibration(page: Page, found: Calibration) -> None:
    page.heading("Calibration")
    page.text(f"How sure the model says it is differs by {found.error:.3f} from how often it is right, on average.")
    picture = charts.against(found.confidence, found.accuracy, x="confidence", y="share that is right", joined=True)
    page.picture("calibration", picture, "share of right answers over confidence")
