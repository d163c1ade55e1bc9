"""The figures are scikit-learn's, and how answers are read is told by a table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from sklearn import metrics as sklearn_metrics

from model_server.errors import ModelError
from model_server.evaluate.scores import CLASSIFICATION, REGRESSION, Tally, differences, labels_of

FEW = settings(max_examples=settings().max_examples // 4)


@FEW
@given(rows=some.lists(some.tuples(some.integers(-2, 6), some.integers(-2, 6)), min_size=1, max_size=40))
def test_classification_is_scored_as_scikit_learn_does(rows: list[tuple[int, int]]) -> None:
    truth, said = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    tally = Tally.of(truth, said)
    figures = {name: score(tally) for name, score in CLASSIFICATION.items()}
    macro, micro = (
        sklearn_metrics.precision_recall_fscore_support(truth, said, average=average, zero_division=0)
        for average in ("macro", "micro")
    )
    expected = {"accuracy": sklearn_metrics.accuracy_score(truth, said), "precision": macro[0], "recall": macro[1]}
    expected |= {"f1": macro[2], "f1_macro": macro[2], "f1_micro": micro[2]}
    assert figures == pytest.approx(expected, abs=1e-12)


def test_a_case_that_can_be_counted_by_hand() -> None:
    tally = Tally.of(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 3, 3]))
    assert tally.precision.tolist() == [1, 0.5, 0, 0], "2 of 2, 1 of 2, none said, 0 of 2"
    assert tally.recall.tolist() == pytest.approx([2 / 3, 0.5, 0, 0]), "2 of 3, 1 of 2, 0 of 1, none there"
    assert tally.f1.tolist() == pytest.approx([0.8, 0.5, 0, 0])
    assert tally.accuracy == 0.5


sizes = some.tuples(some.integers(1, 30), some.integers(1, 4))
numbers = some.floats(-1e6, 1e6, width=32)


@FEW
@given(both=sizes.flatmap(lambda size: some.tuples(*2 * [arrays.arrays(np.float32, size, elements=numbers)])))
def test_regression_is_scored_as_scikit_learn_does(both: tuple[np.ndarray, np.ndarray]) -> None:  # type: ignore[type-arg]
    said, truth = both
    off = differences(said, truth)
    figures = {name: error(off) for name, error in REGRESSION.items()}
    said, truth = said.astype(np.float64), truth.astype(np.float64)
    expected = {
        "mse": sklearn_metrics.mean_squared_error(truth, said),
        "rmse": sklearn_metrics.root_mean_squared_error(truth, said),
        "mae": sklearn_metrics.mean_absolute_error(truth, said),
    }
    assert figures == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "truth", "labels"),
    [
        ([[0.1, 0.9], [2, -1]], [1, 0], [1, 0]),  # scores, a column for each class
        ([[-np.inf, -3.0, -4.0]], [2], [1]),  # a class that is ruled out
        ([[0, 1, 0]], [1], [1]),  # one of many, in integers
        ([3, 9], [3, 9], [3, 9]),  # the classes themselves
        ([[3], [9]], [3, 9], [3, 9]),
        ([3.0, 9.0], [3, 9], [3, 9]),  # as floats
        ([True, False], [1, 0], [1, 0]),
        ([[0.51], [0.49], [0.5]], [1, 1, 1], [1, 0, 0]),  # probabilities
        ([0.2, 3.5, -0.1], [1, 1, 1], [1, 1, 0]),  # one is outside of 0 to 1: logits
        ([np.inf, 0.25], [1, 1], [1, 1]),
    ],
)
def test_the_class_that_an_answer_names(answers: object, truth: list[int], labels: list[int]) -> None:
    assert labels_of(np.array(answers), np.array(truth)).tolist() == labels


@pytest.mark.parametrize(
    ("answers", "truth", "said"),
    [
        ([0.2, 0.7], [2, 0], "which tells class 1 from 0 only, but y has other classes"),
        ([[[0.2, 0.7]]], [1], r"The output has the shape \[1, 1, 2\]; classes are read from one column"),
        (np.zeros((2, 0)), [1, 1], r"shape \[2, 0\]"),
    ],
)
def test_answers_that_name_no_class(answers: object, truth: list[int], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        labels_of(np.array(answers), np.array(truth))


def test_a_column_and_a_list_of_numbers_are_the_same() -> None:
    assert differences(np.ones((3, 1)), np.zeros(3)).tolist() == [[1], [1], [1]]
    assert differences(np.ones(3), np.zeros((3, 1))).shape == (3, 1)
    assert differences(np.ones((2, 3, 4)), np.zeros((2, 3, 4))).shape == (2, 12)


@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 2), (3, 2, 1)])
def test_numbers_of_another_shape_are_not_compared(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"but y has \[3, 3\]; they must be the same"):
        differences(np.ones(shape), np.zeros((3, 3)))
