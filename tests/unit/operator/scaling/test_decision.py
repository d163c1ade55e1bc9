"""What an autoscaler does, as stories."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from modelservice_operator.scaling import Decision, Policy, Rule, Schedule
from unit.operator.scaling.lives import EVERY, POLICY, Life


def test_load_is_followed_after_the_second_look() -> None:
    life = Life(replicas=3)
    assert life.look(28).rule is Rule.LEARNING
    assert (life.look(28).replicas, life.last.rule) == (4, Rule.LOAD)
    assert life.last.message == (
        "3 ready pods, 28 requests in flight, 7 meant for each replica: over 20s that asks for 4 replicas, "
        "and there are 3."
    )


def test_a_little_too_much_is_left_to_the_pods() -> None:
    assert Life(replicas=3).steady(22, 600).last.rule is Rule.STEADY


def test_a_surge_is_answered_by_the_shorter_window_and_then_by_the_longer_one() -> None:
    life = Life(replicas=2).steady(10, 300)
    assert (life.look(60).rule, life.replicas) == (Rule.SURGE, 5)
    assert life.steady(60, POLICY.stable_window).replicas == 9
    assert Rule.LOAD in {each.rule for each in life.decisions[-4:]}


def test_what_a_surge_brought_stays_for_the_delay() -> None:
    life = Life(replicas=2).steady(10, 600).looks([60, 60])
    assert {each.replicas for each in life.steady(10, POLICY.scale_down_delay - 5).decisions[-50:]} == {5}
    assert life.steady(10, 60).replicas < 5


def test_a_load_that_swings_keeps_the_replicas_that_its_peaks_need() -> None:
    life = Life(replicas=6).looks(([20] * 6 + [60] * 6) * 20)  # half a minute each, 40 on average
    assert {each.replicas for each in life.decisions[-200:]} == {8}  # within the tolerance


def test_fewer_replicas_come_after_the_whole_delay_and_step_by_step() -> None:
    life = Life(replicas=10).steady(65, 600)
    assert life.replicas == 10
    begin = life.now
    sizes: list[tuple[float, int]] = []
    while life.replicas > 2:
        before = life.replicas
        life.look(10)
        if life.replicas != before:
            sizes.append((life.now - begin, life.replicas))
    assert sizes[0][0] >= POLICY.scale_down_delay
    assert [size for _, size in sizes] == [8, 6, 5, 4, 3, 2]
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(sizes)]
    assert min(gaps) >= POLICY.scale_down_period


def test_without_a_delay_fewer_come_at_the_second_look() -> None:
    life = Life(replace(POLICY, scale_down_delay=0.0), replicas=5).looks([3, 3])
    assert (life.replicas, life.last.rule) == (4, Rule.SPARE)


def test_two_busy_minutes_within_the_delay_keeps_the_replicas() -> None:
    life = Life(replicas=6).steady(10, 170).steady(40, 120)
    assert {each.replicas for each in life.steady(10, 250).decisions} == {6}


def test_a_flapping_metric_does_not_flap_replicas() -> None:
    life = Life(replicas=4).looks([0, 56] * 360)  # 28 on average: four replicas
    assert {each.replicas for each in life.decisions} == {4}


def test_a_metric_that_flaps_slowly_does_not_either() -> None:
    life = Life(replicas=4).looks(([0] * 24 + [28] * 24) * 20)  # two minutes each
    assert {each.replicas for each in life.decisions} == {4}


def test_while_pods_load_a_growing_queue_asks_for_no_more() -> None:
    life = Life(replicas=2).steady(12, 300)
    life.looks([40, 60])
    asked = life.replicas
    assert asked > 2
    for queue in range(50, 1500, 25):
        life.look(queue, ready=2, told=2, starting=asked - 2)
        assert life.replicas == asked
    assert life.last.rule is Rule.LOADING


def test_where_answers_are_counted_the_queue_is_told_from_the_load() -> None:
    """20 a second arrive where two replicas answer 10: four are meant for each 14 that are worked on, so 6 will do."""
    life = Life(replicas=2).steady(10, 300, answered=50)
    inflight = 10.0
    for _ in range(120):  # ten minutes until the first of the new pods is ready
        inflight += 10 * EVERY
        life.look(inflight, ready=2, told=2, starting=life.replicas - 2, answered=10 * EVERY)
    assert inflight > 5000
    assert 6 <= life.replicas <= 12  # 40 are worked on if none waits: 6; the rest for the queue


@pytest.mark.parametrize("changes", [{"told": 0}, {"ready": 0, "told": 0}, None])
def test_without_data_replicas_hold(changes: dict[str, int] | None) -> None:
    life = Life(replicas=5).steady(30, 600)
    found = [life.look(None) if changes is None else life.look(0, **changes) for _ in range(100)]
    assert {(each.replicas, each.rule) for each in found} == {(5, Rule.NO_DATA)}
    assert "no data" in life.last.message
    assert life.last.rule.is_blind


def test_stale_data_hold() -> None:
    life = Life(replicas=5).steady(30, 600)
    found = life.look(0, time=life.now - 300)
    assert (found.replicas, found.rule, found.message) == (5, Rule.STALE, "The data are 305s old: replicas are held.")


def test_data_that_stop_changing_are_stale_soon() -> None:
    life = Life(replicas=5).steady(30, 600)
    frozen = life.now
    found = [life.look(0, time=frozen) for _ in range(200)]
    assert {each.replicas for each in found} == {5}
    assert life.last.rule is Rule.STALE


@pytest.mark.parametrize("jump", [-3600.0, -10.0, 90.0, 300.0, 86400.0])
def test_a_clock_that_jumps_holds_and_starts_the_windows_anew(jump: float) -> None:
    life = Life(replicas=5).steady(8, 250)
    found = life.look(8, after=jump)
    assert (found.replicas, found.rule) == (5, Rule.CLOCK)
    begin = life.now
    while life.replicas == 5:
        life.look(8)
    assert life.now - begin > POLICY.scale_down_delay


def test_data_from_the_future_hold() -> None:
    life = Life(replicas=5).steady(30, 600)
    assert life.look(0, time=life.now + 300).rule is Rule.CLOCK


def test_pods_that_cannot_be_reached_never_mean_fewer_replicas() -> None:
    life = Life(replicas=5).steady(30, 600)
    life.steady(4, 3600, told=3)
    assert (life.replicas, life.last.rule) == (5, Rule.UNREACHABLE)
    assert life.last.message.startswith("3 of 5 ready pods, 4 requests in flight")
    life.steady(4, 290)  # all tell again: the delay begins
    assert life.replicas == 5
    assert life.steady(4, 30).replicas == 4


def test_pods_that_can_be_reached_may_ask_for_more() -> None:
    assert Life(replicas=5).steady(60, 60, told=3).replicas == 9


def test_zero_is_left_alone() -> None:
    life = Life(replicas=0)
    assert (life.look(50, told=1, ready=1).replicas, life.last.rule) == (0, Rule.ZERO)


@pytest.mark.parametrize(("replicas", "becomes"), [(30, 20), (0, 0), (20, 20)])
def test_bounds_hold_at_once_and_without_data(replicas: int, becomes: int) -> None:
    assert Life(replicas=replicas).look(None).replicas == becomes


def test_a_schedule_raises_before_the_load_comes_and_load_decides_after_it() -> None:
    hour = Schedule("* * * * *", min_replicas=6, max_replicas=8)
    life = Life(Policy(target=7, max_replicas=20, schedules=(hour,)), replicas=2)
    found = life.look(3)
    assert (found.replicas, found.rule) == (6, Rule.SCHEDULE)
    assert found.message == '2 is outside the bounds of the schedule "* * * * *" (Etc/UTC), 6 to 8.'
    life.steady(200, 120)
    assert (life.replicas, life.last.rule) == (8, Rule.LIMITED)
    assert life.last.message.endswith("that asks for 29 replicas, and no more than 8 may be.")


def test_after_a_restart_nothing_moves_until_enough_was_seen() -> None:
    life = Life(replicas=5).steady(8, 200)
    life.memory = Life().memory
    assert {each.replicas for each in life.steady(8, POLICY.scale_down_delay).decisions} == {5}


def test_no_more_is_remembered_than_the_windows_hold() -> None:
    life = Life(replicas=5).steady(30, 3600)
    assert len(life.memory.looks) <= POLICY.scale_down_delay / EVERY + 1


def test_every_decision_is_a_sentence() -> None:
    life = Life(replicas=5).steady(60, 60).steady(4, 900).steady(None, 60)
    for each in life.decisions:
        assert isinstance(each, Decision)
        assert each.message[0].isdigit() or each.message[0].isupper()
        assert each.message.endswith(".")
