"""Short passes move to the loop, long ones leave it at once; told with the seconds that each pass takes."""

from __future__ import annotations

from model_server.placement import SHORT_SECONDS, Placement

SHORT = SHORT_SECONDS / 4
LONG = SHORT_SECONDS * 50


def after(*passes: tuple[float, int]) -> Placement:
    placement = Placement()
    for seconds, size in passes:
        placement.observe(seconds, size)
    return placement


def test_the_first_batch_runs_in_the_thread() -> None:
    assert not Placement().on_loop(1)


def test_a_quick_model_runs_on_the_loop_and_a_slow_one_does_not() -> None:
    assert after((SHORT, 10)).on_loop(10)
    assert not after((LONG, 10)).on_loop(10)


def test_a_batch_larger_than_any_yet_is_tried_in_the_thread_first() -> None:
    placement = after((SHORT, 10))
    assert not placement.on_loop(11)
    placement.observe(SHORT, 640)
    assert placement.on_loop(640)


def test_one_long_pass_is_enough_to_leave_the_loop() -> None:
    assert not after(*[(SHORT, 10)] * 1000, (LONG, 10)).on_loop(10)


def test_a_pass_slowed_by_a_neighbour_is_forgotten() -> None:
    placement = after((SHORT, 10), (LONG, 10))
    assert not placement.on_loop(10)
    placement.observe(SHORT, 10)
    assert placement.on_loop(10)


def test_two_slow_passes_in_a_row_are_not_forgotten_at_once() -> None:
    placement = after((SHORT, 10), (LONG, 10), (LONG, 10), (SHORT, 10))
    assert not placement.on_loop(10)


def test_a_model_that_became_slower_by_a_little_leaves_within_a_few_passes() -> None:
    placement = after(*[(SHORT, 10)] * 1000)
    passes = 0
    while placement.on_loop(9):  # a size that was not seen to be long: the average alone decides
        placement.observe(SHORT_SECONDS * 2, 10)
        passes += 1
    assert 1 < passes < 10


def test_a_model_that_became_quick_again_returns() -> None:
    placement = after(*[(LONG, 10)] * 1000)
    passes = 0
    while not placement.on_loop(10):
        placement.observe(SHORT, 10)
        passes += 1
    assert passes < 50


def test_large_batches_that_are_long_do_not_follow_small_ones_onto_the_loop() -> None:
    placement = after(*[(SHORT, 10)] * 100, (LONG, 640), *[(SHORT, 10)] * 100)
    assert placement.on_loop(10)
    assert not placement.on_loop(640)
