"""Slices are rows of one kind; together they are all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_server.errors import ModelError
from model_server.evaluate.outcome import Outcome
from model_server.evaluate.slices import MOST_SLICES, slices_of

ARRAYS: dict[str, Any] = {
    "y": np.array([0, 1, 1, 0, 1, 0, 1, 1]),
    "is_old": np.array([True, False] * 4),
    "age": np.array([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]),
    "x": np.arange(16).reshape(8, 2) % 3,
}


def test_each_value_is_a_slice() -> None:
    found = slices_of(["y", "is_old", "x:1"], ARRAYS, 8)
    assert list(found) == ["y = 0", "y = 1", "is_old = False", "is_old = True", "x:1 = 0", "x:1 = 1", "x:1 = 2"]
    assert found["y = 0"].tolist() == [0, 3, 5]
    assert found["x:1 = 0"].tolist() == [1, 4, 7]


def test_fractions_are_cut_into_quarters() -> None:
    found = slices_of(["age"], ARRAYS, 8)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "age <= 2.25": [0, 1],
        "2.25 < age <= 4": [2, 3],
        "4 < age <= 5.75": [4, 5],
        "age > 5.75": [6, 7],
    }


def test_fractions_that_are_mostly_one_make_fewer_parts() -> None:
    found = slices_of(["age"], {"age": np.array([0.5] * 7 + [9.5])}, 8)
    assert {name: len(rows) for name, rows in found.items()} == {"age <= 0.5": 7, "age > 0.5": 1}


def test_slices_of_an_outcome_have_their_own_figures() -> None:
    outcome = Outcome.of(["accuracy"], np.eye(2)[[0, 1, 0, 0, 1, 1, 1, 1]], ARRAYS["y"])
    figures = {name: outcome.rows(rows).scores(["accuracy"]) for name, rows in slices_of(["y"], ARRAYS, 8).items()}
    assert figures == {"y = 0": {"accuracy": pytest.approx(2 / 3)}, "y = 1": {"accuracy": 0.8}}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x", "'x' has 2 values in a row; name one, counted from 0: x:0"),
        ("x:2", "'x' has 2 values in a row"),
        ("x:a", "'x' has 2 values in a row"),
        ("many", f"60 different values; there may be {MOST_SLICES}"),
        ("nan", "no numbers"),
    ],
)
def test_what_makes_no_slices_is_told(name: str, said: str) -> None:
    arrays = {**ARRAYS, "many": np.arange(60), "nan": np.array([np.nan] * 8)}
    with pytest.raises(ModelError, match=said):
        slices_of([name], arrays, len(arrays[name.partition(":")[0]]))
