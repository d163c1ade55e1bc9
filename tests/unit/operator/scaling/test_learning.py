"""How an autoscaler learns how full replicas may be."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from modelservice_operator.scaling import TARGET_SHARE, Learnt, Memory, Policy, Promise, Rule, Sample, target
from modelservice_operator.scaling.learning import LEAST, MOST
from unit.operator.scaling.lives import EVERY, Life

PROMISE = Promise(seconds=1.0, late=0.05)
POLICY = Policy(target=7, promise=PROMISE, min_replicas=1, max_replicas=20)


def lived(late: float, hours: float, *, learnt: Learnt | None = None) -> Learnt:
    """What is known after hours in which of 100 requests at each look so many were late."""
    learnt = learnt or Learnt()
    for _ in range(round(hours * 3600 / EVERY)):
        learnt = learnt.after(Sample(0.0, 1.0, 1, 1, 0, answered=100.0, late=late), EVERY, PROMISE)
    return learnt


def test_where_nobody_is_late_replicas_may_be_fuller_and_where_many_are_less_full() -> None:
    assert TARGET_SHARE < lived(0, 0.3).share < MOST
    assert LEAST < lived(6, 0.3).share < TARGET_SHARE
    assert (lived(0, 24).share, lived(100, 24).share) == (MOST, LEAST)


def test_as_many_are_late_as_may_be_whatever_the_load_does() -> None:
    """The fuller a replica, the more are late, by a rule that nobody has told."""
    random, learnt, answered, late = Random(1), Learnt(), 0.0, 0.0  # noqa: S311 (no secret)
    for look in range(200_000):
        requests = float(random.randint(0, 40 if look // 5000 % 2 else 400))
        slow = requests * min(1.0, 0.2 * max(0.0, learnt.share - (0.7 if look < 100_000 else 0.5)))
        answered, late = answered + requests, late + slow
        learnt = learnt.after(Sample(0.0, 1.0, 1, 1, 0, requests, slow), EVERY, PROMISE)
    assert 0.8 * PROMISE.late < late / answered <= PROMISE.late


@pytest.mark.parametrize(("answered", "late"), [(None, None), (100.0, None), (0.0, 0.0)])
def test_who_is_not_told_learns_nothing(answered: float | None, late: float | None) -> None:
    assert Learnt().after(Sample(0.0, 1.0, 1, 1, 0, answered, late), EVERY, PROMISE).share == TARGET_SHARE


def test_a_service_that_keeps_its_promise_with_ease_gets_by_with_fewer_replicas() -> None:
    kept, unknown = (Life(POLICY, replicas=10).steady(60, 4 * 3600, answered=100, **late) for late in ({"late": 0}, {}))
    assert kept.replicas < unknown.replicas == 9
    assert target(POLICY, kept.memory) == pytest.approx(MOST * POLICY.saturation)
    assert f"{MOST * POLICY.saturation:g} meant for each replica" in kept.last.message


def test_late_answers_bring_replicas_back() -> None:
    life = Life(POLICY, replicas=10).steady(60, 4 * 3600, answered=100, late=0)
    fewest = life.replicas
    life.steady(60, 1800, answered=100, late=50)
    assert life.replicas > fewest
    assert Rule.LOAD in {each.rule for each in life.decisions[-360:]}


def test_without_a_promise_the_target_stays() -> None:
    life = Life(replace(POLICY, promise=None), replicas=10).steady(60, 4 * 3600, answered=100, late=0)
    assert target(life.policy, life.memory) == 7


def test_pods_that_do_not_tell_all_teach_nothing() -> None:
    life = Life(POLICY, replicas=10).steady(60, 3600, answered=100, late=0, told=5)
    assert life.memory.learnt == Learnt()


def test_a_clock_that_jumps_does_not_take_away_what_was_learnt() -> None:
    life = Life(POLICY, replicas=10).steady(60, 3600, answered=100, late=0)
    before = life.memory.learnt
    assert life.look(60, after=400, answered=100, late=0).rule is Rule.CLOCK
    assert life.memory.learnt == before
    assert life.memory == Memory(now=life.now, learnt=before)
