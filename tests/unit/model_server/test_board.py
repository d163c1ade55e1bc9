"""A crew is ready when each of its processes is, and was well a moment ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from model_server.board import STALE_SECONDS, Board
from model_server.limits import Limits
from model_server.server import clock

if TYPE_CHECKING:
    from model_server.serve import Options


class Two:
    """The options that a board looks at."""

    limits = Limits()
    latency_buckets = (1.0,)


@pytest.fixture
def board() -> Board:
    board = Board(cast("Options", Two), 2)
    for worker in board.workers:
        worker.ready.value = 1
        worker.beat.value = clock()
    return board


def test_all_are_ready(board: Board) -> None:
    assert board.all_ready()


def test_one_is_not_ready(board: Board) -> None:
    board.workers[1].ready.value = 0
    assert not board.all_ready()


def test_one_has_been_silent(board: Board) -> None:
    board.workers[0].beat.value = clock() - STALE_SECONDS - 1
    assert not board.all_ready()
