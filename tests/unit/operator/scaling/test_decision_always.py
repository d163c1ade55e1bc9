"""What holds whatever an autoscaler sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.scaling import Decision, Memory, Policy, Rule, Sample, Schedule, decide
from modelservice_operator.scaling.demand import demand
from modelservice_operator.scaling.memory import Look

SCHEDULES = st.lists(
    st.builds(
        Schedule,
        st.sampled_from(["* * * * *", "*/2 * * * *", "0 8 * * MON-FRI", "30 2 * * *"]),
        st.sampled_from(["Etc/UTC", "Europe/Berlin"]),
        st.none() | st.integers(1, 9),
        st.none() | st.integers(1, 30),
    ),
    max_size=2,
).map(tuple)
POLICIES = st.builds(
    Policy,
    target=st.sampled_from([0.7, 2.8, 7.0, 45.0]),
    min_replicas=st.integers(1, 5),
    max_replicas=st.integers(5, 40),
    schedules=SCHEDULES,
    scale_down_delay=st.sampled_from([0.0, 60.0, 120.0]),
)


KINDS = ("told", "told", "told", "told", "uncounted", "loads", "partly", "no data", "stale", "ahead", "back", "gap")
Life: TypeAlias = "list[tuple[str, int, int]]"
STRETCHES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 300), st.integers(1, 30)), min_size=1, max_size=5)
"""What is to be seen, how many are in flight for each stretch of looks, and how many looks it lasts."""


@dataclass(frozen=True)
class Seen:
    """One look of a life."""

    now: float
    sample: Sample | None
    before: int
    decision: Decision

    @property
    def is_down(self) -> bool:
        return self.decision.replicas < self.before and self.decision.rule not in {Rule.BOUNDS, Rule.SCHEDULE}


def lived(policy: Policy, stretches: Life, replicas: int = 20, *, counts: bool = True) -> list[Seen]:
    """Return what was seen and decided, one after the other."""
    pods = 6
    now, memory, found = 1_767_000_000.0, Memory(), []
    for kind, inflight, looks in stretches:
        for number in range(looks):
            now += {"back": -7.0, "gap": 400.0}.get(kind, 5.0) if number == 0 else 5.0
            sample = Sample(
                now - {"stale": 40.0, "ahead": -60.0}.get(kind, 0.0),
                inflight * (0.9 + 0.05 * (number % 5)),
                pods - (kind == "partly"),
                pods,
                3 * (kind == "loads"),
                40.0 if counts and kind != "uncounted" else None,
            )
            told = None if kind == "no data" else sample
            decision = decide(policy, memory, told, now, replicas)
            found.append(Seen(now, told, replicas, decision))
            replicas, memory = decision.replicas, decision.memory
    return found


@given(POLICIES, STRETCHES, st.integers(0, 60))
def test_replicas_are_within_the_bounds_or_zero_by_choice(policy: Policy, stretches: Life, replicas: int) -> None:
    for each in lived(policy, stretches, replicas):
        decided = each.decision.replicas
        assert decided == 0 if each.before == 0 else decided in policy.bounds(each.now)


@given(POLICIES, STRETCHES)
def test_fewer_come_in_small_steps_after_a_delay_without_a_gap(policy: Policy, stretches: Life) -> None:
    lowered = -math.inf
    for each in lived(policy, stretches):
        lowered = -math.inf if each.decision.rule is Rule.CLOCK else lowered  # all is watched anew
        if not each.is_down:
            continue
        looks = each.decision.memory.looks
        assert each.sample is not None
        assert each.sample.told == each.sample.ready
        assert looks[0].sample.time <= each.sample.time - policy.scale_down_delay
        assert all(later.sample.time - sooner.sample.time <= policy.longest_gap for sooner, later in pairwise(looks))
        lately = [look.wanted for look in looks if look.sample.time > each.sample.time - policy.scale_down_delay]
        assert each.decision.replicas >= min(max(lately, default=0), policy.bounds(each.now).max_replicas)
        assert each.before - each.decision.replicas <= max(1, policy.scale_down_step * each.before)
        assert not 0 <= each.now - lowered < policy.scale_down_period
        lowered = each.now


@given(POLICIES, STRETCHES)
def test_who_sees_nothing_holds(policy: Policy, stretches: Life) -> None:
    for each in lived(policy, stretches):
        sees = each.sample is not None and 0 <= each.now - each.sample.time <= policy.patience
        if not sees:
            assert each.decision.rule.is_blind or each.decision.rule in {Rule.BOUNDS, Rule.SCHEDULE}
            assert each.decision.replicas == policy.bounds(each.now).nearest(each.before)


@given(POLICIES, STRETCHES, st.integers(1, 300))
def test_more_at_the_last_look_never_means_fewer_replicas(policy: Policy, stretches: Life, more: int) -> None:
    quiet, busy = (lived(policy, [*stretches, ("told", 20 + each, 1)], counts=False) for each in (0, more))
    assert busy[-1].decision.replicas >= quiet[-1].decision.replicas


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=20))
def test_more_all_the_time_is_never_less_demand(looks: list[tuple[int, int]]) -> None:
    policy = Policy(target=7)
    less, more = (
        [Look(Sample(5.0 * at, inflight + each * extra, 6, 6, 0), 1) for at, (inflight, extra) in enumerate(looks)]
        for each in (0, 1)
    )
    for window in (policy.panic_window, policy.stable_window):
        assert demand(policy, less, window) <= demand(policy, more, window)
