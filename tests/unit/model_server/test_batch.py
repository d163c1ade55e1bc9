"""Requests that share a forward pass get their own rows back, and only their own faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.batch import run_batch
from model_server.errors import RequestError

if TYPE_CHECKING:
    import pytest

    from model_server.protocol.datatypes import Arrays


def rows(*values: float) -> Arrays:
    return (np.array([[value] for value in values], dtype=np.float32),)


def double(inputs: Arrays) -> Arrays:
    if (inputs[0] == 13).any():
        message = "13 is unlucky"
        raise ValueError(message)
    return (inputs[0] * 2,)


def told(outcomes: list[Any]) -> list[Any]:
    return [one.status if isinstance(one, RequestError) else one[0].ravel().tolist() for one in outcomes]


def test_each_request_gets_its_own_rows() -> None:
    assert told(run_batch(double, [rows(1), rows(2, 3), rows(4)])) == [[2], [4, 6], [8]]


def test_one_bad_request_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert told(run_batch(double, [rows(1), rows(2, 13), rows(4)])) == [[2], 500, [8]]
    assert "13 is unlucky" in caplog.text


def test_what_the_model_blames_on_a_sender_reaches_that_sender_alone(caplog: pytest.LogCaptureFixture) -> None:
    def knows_small_numbers(inputs: Arrays) -> Arrays:
        if (inputs[0] > 9).any():
            raise RequestError(400, "too large")
        return inputs

    assert told(run_batch(knows_small_numbers, [rows(1), rows(10)])) == [[1], 400]
    assert caplog.text == ""


def test_a_model_that_loses_rows_answers_nobody_with_the_rows_of_another() -> None:
    def forgets_a_row(inputs: Arrays) -> Arrays:
        return (inputs[0][:-1],) if len(inputs[0]) > 1 else inputs

    assert told(run_batch(forgets_a_row, [rows(1), rows(2), rows(3, 4)])) == [[1], [2], 500]
