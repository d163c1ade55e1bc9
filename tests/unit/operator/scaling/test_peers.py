"""That others' algorithms are those of their documentation and source, in numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from modelservice_operator.scaling.simulator.hpa import Hpa, Metric
from modelservice_operator.scaling.simulator.kpa import Kpa
from modelservice_operator.scaling.simulator.recorded import Sync, differences, sequence


def hpa(**changes: float) -> Hpa:
    return Hpa(Metric.INFLIGHT, **({"target": 10, "max_replicas": 100} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "current", "becomes"),
    [
        (40, 2, 4),  # twice the target: twice the replicas
        (43, 4, 4),  # a tenth too much is tolerated
        (45, 4, 5),
        (36, 4, 4),  # and too little
        (80, 4, 8),
        (1000, 4, 8),  # at most twice as many in 15 seconds
        (1000, 2, 6),  # or 4 more, if that is more
        (1000, 80, 100),  # and never more than there may be
    ],
)
def test_an_hpa_follows_its_formula_within_its_limits(value: float, current: int, becomes: int) -> None:
    assert hpa().sync(0, value, current, current) == becomes


def test_an_hpa_goes_down_to_the_highest_recommendation_of_five_minutes() -> None:
    found, sizes, current = hpa(), [], 10
    for sync, value in enumerate([100, 20, 50, *[20] * 30]):
        current = found.sync(15.0 * sync, value, current, current)
        sizes.append(current)
    assert sizes[:20] == [10] * 20  # 300 seconds from the last time that ten were needed
    assert sizes[20:23] == [5, 5, 2]  # then the fifty, 30 seconds later, are forgotten


def test_an_hpa_by_cpu_counts_pods_that_load_as_idle() -> None:
    found = Hpa(Metric.CPU, 0.5, max_replicas=100)
    assert found.sync(0, 2.0, 2, 2) == 4  # both at 100%
    assert Hpa(Metric.CPU, 0.5, max_replicas=100).sync(0, 2.0, 4, 2) == 4  # the two that load will take their half
    assert Hpa(Metric.CPU, 0.5, max_replicas=100).sync(0, 2.0, 3, 2) == 4


@pytest.mark.parametrize(
    ("stable", "panic", "ready", "becomes"),
    [
        (14, 14, 2, 2),
        (15, 15, 2, 3),
        (14, 28, 2, 4),  # the short window asks for twice the pods that are ready: panic
        (14, 21, 2, 2),  # not quite
        (7, 7, 8, 4),  # at most a half goes at once
        (0, 0, 1, 0),  # to zero, where that is allowed
    ],
)
def test_a_kpa_follows_its_windows(stable: float, panic: float, ready: int, becomes: int) -> None:
    assert Kpa(target=7).decide(0, stable, panic, ready) == becomes


def test_a_kpa_that_panics_does_not_go_down_until_the_panic_is_over() -> None:
    found = Kpa(target=7)
    assert found.decide(0, 14, 70, 2) == 10
    assert [found.decide(at, 14, 14, 10) for at in (2, 30, 60)] == [10, 10, 10]
    assert found.decide(61, 14, 14, 10) == 5


def test_a_recorded_run_is_compared_sync_by_sync() -> None:
    run = [Sync(0, 20, 2, 2, 2), Sync(15, 60, 2, 2, 6), Sync(30, 60, 2, 6, 6), Sync(45, 90, 6, 6, 9)]
    assert differences(hpa(), run) == []
    assert sequence(run) == [2, 6, 9]
    [line] = differences(hpa(), [*run, Sync(60, 90, 9, 9, 12)])
    assert line == (
        "at 60s, told 90 with 9 replicas, 9 of them ready, the controller asked for 12, and the algorithm for 9"
    )
