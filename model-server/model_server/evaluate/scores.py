"""How near answers come to what is right: scikit-learn's definitions, with `zero_division=0`.

Precision, recall and F1 are means over the classes that are in the truth or in the answers, each class with the same
weight (macro); where nothing was to be found or nothing was found, they are 0. Over all rows together (micro) the
three are the accuracy, as every row has one class. Where a row has several targets, errors are means over the targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.protocol.datatypes import Array

_MIDDLE = 0.5  # of a probability


@dataclass(frozen=True, slots=True)
class Tally:
    """Of each class: the rows that were rightly said to be of it, that were said to be, and that are."""

    right: Array
    said: Array
    true: Array

    @classmethod
    def of(cls, truth: Array, said: Array, counts: Array | None = None) -> Tally:
        """Count; `counts` says how often each pair is there, once each without."""
        times = np.ones(len(truth), np.int64) if counts is None else counts
        truth, said, times = truth[times > 0], said[times > 0], times[times > 0]
        labels, index = np.unique(np.concatenate((truth, said)), return_inverse=True)
        true, guess = index[: len(truth)], index[len(truth) :]
        right = true == guess

        def count(found: Array, weights: Array) -> Array:
            return np.bincount(found, weights, minlength=len(labels))

        return cls(count(true[right], times[right]), count(guess, times), count(true, times))

    @property
    def precision(self) -> Array:
        """Of those said to be of a class, the share that is."""
        return _share(self.right, self.said)

    @property
    def recall(self) -> Array:
        """Of those that are of a class, the share that is said to be."""
        return _share(self.right, self.true)

    @property
    def f1(self) -> Array:
        """The harmonic mean of both."""
        return _share(2 * self.right, self.said + self.true)

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(self.right.sum() / self.true.sum())


CLASSIFICATION: dict[str, Callable[[Tally], float]] = {
    "accuracy": lambda tally: tally.accuracy,
    "precision": lambda tally: float(tally.precision.mean()),
    "recall": lambda tally: float(tally.recall.mean()),
    "f1": lambda tally: float(tally.f1.mean()),
    "f1_macro": lambda tally: float(tally.f1.mean()),
    "f1_micro": lambda tally: tally.accuracy,
}
REGRESSION: dict[str, Callable[[Array], float]] = {  # of the differences, a column for each target
    "mse": lambda off: float(np.mean(off**2)),
    "rmse": lambda off: float(np.mean(np.sqrt(np.mean(off**2, axis=0)))),
    "mae": lambda off: float(np.mean(np.abs(off))),
}


def labels_of(answers: Array, truth: Array) -> Array:
    """Tell which class each answer names.

    Several columns are scores, the highest counts. One column of integers, booleans or whole numbers are the classes
    themselves. One column of fractions is about class 1 against class 0: probabilities, or, where one of them lies
    outside of 0 to 1, logits.
    """
    shape = list(answers.shape)
    if answers.ndim == 2 and answers.shape[1] > 1:  # noqa: PLR2004  # rows and columns
        best: Array = answers.argmax(axis=1)
        return best
    if answers.size != len(answers):
        raise _unfit(f"The output has the shape {shape}; classes are read from one column, or from a column for each.")
    column = answers.reshape(-1)
    with np.errstate(invalid="ignore"):  # infinity is a fraction here
        if column.dtype.kind != "f" or not np.any(column % 1):
            return column.astype(np.int64)
    if not np.isin(truth, (0, 1)).all():
        what = "The output is one column of fractions, which tells class 1 from 0 only, but y has other classes"
        raise _unfit(f"{what}; where it holds numbers, ask for mse, rmse or mae.")
    are_probabilities = column.min() >= 0 and column.max() <= 1
    return (column > (_MIDDLE if are_probabilities else 0)).astype(np.int64)


def differences(answers: Array, truth: Array) -> Array:
    """Subtract what is right, with one column for each target."""
    said, true = (array.reshape(len(array), -1) if array.ndim <= 2 else array for array in (answers, truth))  # noqa: PLR2004
    if said.shape != true.shape:
        message = (
            f"The output has the shape {list(answers.shape)}, but y has {list(truth.shape)}; they must be the same."
        )
        raise _unfit(message)
    with np.errstate(over="ignore"):  # an error that is no number is told where it is written down
        return (said.astype(np.float64) - true.astype(np.float64)).reshape(len(said), -1)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _unfit(message: str) -> ModelError:
    return ModelError(Reason.INVALID, message)
