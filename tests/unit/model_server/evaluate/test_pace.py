"""Percentiles were measured, and a sweep ends where throughput does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some

from model_server.evaluate.pace import (
    MOST_CONCURRENCY,
    STEP,
    Level,
    Saturation,
    next_concurrency,
    percentile,
    saturation,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@given(seconds=some.lists(some.floats(0, 100), min_size=1), percent=some.integers(1, 100))
def test_a_percentile_is_the_least_time_in_which_that_many_were_answered(seconds: list[float], percent: int) -> None:
    # Counted in whole numbers: numpy's own is one too far where 25 * 0.28 is more than 7.
    enough = [each for each in seconds if 100 * sum(other <= each for other in seconds) >= percent * len(seconds)]
    assert percentile(seconds, percent) == min(enough)


def test_the_99th_of_100_is_not_the_slowest() -> None:
    assert [percentile(range(1, 101), percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]


def swept(throughput: Callable[[int], float | None]) -> list[Level]:
    """Measure a server that answers so many a second at each concurrency, or turns requests away (None)."""
    levels: list[Level] = []
    while (concurrency := next_concurrency(levels)) is not None:
        per_second = throughput(concurrency)
        levels.append(Level(concurrency, per_second or 0.0, was_refused=per_second is None))
    return levels


@pytest.mark.parametrize(
    ("throughput", "tried", "found"),
    [
        (lambda n: 100.0 * min(n, 1), 4, (1, 100)),  # one at a time
        (lambda n: 100.0 * min(n, 8), 32, (8, 800)),  # batches of 8
        (lambda n: 100.0 * min(n, 11), 64, (16, 1100)),  # in between: the step above
        (lambda n: 100 * n / (1 + n / 20), 256, (128, 1855)),  # it grows by less and less
        (lambda n: 100.0 * min(n, 8) - n, 32, (8, 792)),  # more of them do harm
        (lambda n: 100.0 * n, 256, (256, 25600)),  # no end in sight
        (lambda n: 50.0 * (n // 4 + 1), 256, (256, 3250)),  # nothing at first: batches of 4 fill later
        (lambda n: 100.0 * n if n <= 4 else None, 8, (4, 400)),  # then it turns requests away
    ],
)
def test_a_sweep_ends_where_more_requests_bring_no_more(
    throughput: Callable[[int], float | None], tried: int, found: tuple[int, float]
) -> None:
    levels = swept(throughput)
    assert levels[-1].concurrency == tried
    result = saturation(levels)
    assert result is not None
    assert (result.concurrency, round(result.per_second)) == found


def test_what_is_never_answered_has_no_saturation() -> None:
    assert saturation(swept(lambda _: None)) is None


def test_the_end_of_who_asks_is_not_taken_for_the_models() -> None:
    levels = [Level(1, 1000), Level(2, 1900), Level(4, 1950, is_ours=True)]
    assert next_concurrency(levels) is None
    assert saturation(levels) is None


@given(
    rates=some.lists(some.floats(0.1, 1e6), min_size=9, max_size=9),
    refused_from=some.integers(2, 12),
)
def test_what_is_found_holds_for_every_server(rates: list[float], refused_from: int) -> None:
    levels = swept(lambda n: None if n.bit_length() >= refused_from else rates[n.bit_length() - 1])
    found = saturation(levels)
    assert isinstance(found, Saturation)
    held = {level.concurrency: level.per_second for level in levels if not level.was_refused}
    assert found.per_second == max(held.values())
    assert held[found.concurrency] * (1 + STEP) >= found.per_second
    assert all(rate * (1 + STEP) < found.per_second for n, rate in held.items() if n < found.concurrency)
    assert levels[-1].concurrency <= MOST_CONCURRENCY
