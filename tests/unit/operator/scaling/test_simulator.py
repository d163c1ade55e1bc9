"""Replays that are small enough to be known beforehand, and one under each policy with a fixed seed."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from modelservice_operator.readings import _LOOK_SECONDS
from modelservice_operator.scaling.simulator import hpa, kpa, traces
from modelservice_operator.scaling.simulator.autoscalers import Builtin, Fixed, Planned
from modelservice_operator.scaling.simulator.oracle import demands, oracle
from modelservice_operator.scaling.simulator.replay import replay
from modelservice_operator.scaling.simulator.service import Result, Service, Trace
from unit.operator.makers import parsed

SERVICE = Service(concurrency=2, objective=10.0, loads=(30.0,), max_replicas=10)


def steady(seconds: float, *, every: float, work: float) -> Trace:
    times = [every * number for number in range(int(seconds / every))]
    return Trace("steady", times, [work] * len(times))


STEP = traces.generated(
    "step", days=0.05, mean=2.0, daily=0.0, works=lambda _: 4.0, bursts=40, burst_seconds=300, seed=7
)


def played(make: object, trace: Trace = STEP, service: Service = SERVICE, replicas: int = 6) -> Result:
    return replay(trace, replace(service, max_replicas=30), make(service), replicas=replicas)  # type: ignore[operator]


def test_requests_that_find_a_free_slot_take_as_long_as_their_work() -> None:
    found = replay(steady(1000, every=1.0, work=1.5), SERVICE, Fixed(1), replicas=1)
    assert (found.attainment, found.started) == (1.0, 0)
    assert found.replica_hours == pytest.approx(999 / 3600)


def test_requests_that_find_none_wait_until_they_are_late() -> None:
    """Two slots answer one in 2 seconds; 1.25 arrive in that time, so the wait grows by a quarter of what passes."""
    found = replay(steady(1000, every=1.6, work=4.0), SERVICE, Fixed(1), replicas=1)
    on_time = (SERVICE.objective - 4.0) / 0.25 / 1.6
    assert found.within == pytest.approx(on_time, rel=0.1)


def test_a_full_queue_refuses_and_who_waits_too_long_has_gone() -> None:
    trace = steady(1000, every=0.5, work=4.0)
    short = replay(trace, replace(SERVICE, max_queue=2), Fixed(1), replicas=1)
    assert short.attainment == pytest.approx(0.25, abs=0.01)  # what two slots can do, and all of it in time
    impatient = replay(trace, replace(SERVICE, timeout=5.0), Fixed(1), replicas=1)
    assert impatient.attainment == pytest.approx(0.25, abs=0.01)


def test_a_replica_costs_from_its_loading_until_it_has_drained() -> None:
    plan = Planned(times=[0.0, 100.0, 200.0], replicas=[1, 2, 1])
    found = replay(steady(1000, every=1.0, work=1.5), SERVICE, plan, replicas=1)
    assert found.sizes == [(0.0, 1), (100.0, 2), (200.0, 1)]
    assert found.started == 1
    assert found.replica_seconds == pytest.approx(999 + 100, abs=3)


def test_what_waits_for_an_accelerator_costs_nothing_yet() -> None:
    """Of two accelerators one is held by a replica that still drains."""
    trace = steady(60, every=20.0, work=50.0)
    plan = Planned(times=[0.0, 10.0, 20.0], replicas=[2, 1, 2], every=5.0)
    found = replay(trace, replace(SERVICE, max_replicas=2), plan, replicas=2)
    assert found.replica_seconds == pytest.approx(80.0, abs=1)


def test_the_oracle_knows_how_many_are_worked_on() -> None:
    trace = steady(600, every=1.0, work=6.0)
    assert demands(trace)[3] == pytest.approx(6.0)
    assert set(oracle(trace, SERVICE, 1.0).replicas[1:-1]) == {3}


POLICIES = {
    "builtin": Builtin.shipped,
    "hpa": lambda service: hpa.on_inflight(service, share=0.7),
    "cpu": lambda service: hpa.on_cpu(service, share=0.8),
    "keda": lambda service: hpa.keda(service, share=0.7),
    "kpa": lambda service: kpa.on_concurrency(service, share=0.7),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_under_any_policy_most_requests_are_answered_and_replicas_follow(policy: str) -> None:
    found = played(POLICIES[policy], service=replace(SERVICE, max_replicas=30))
    assert found.requests == len(STEP.arrivals)
    assert 0.6 < found.attainment <= 1
    assert len(found.sizes) > 2
    assert all(later > sooner for (sooner, _), (later, _) in pairwise(found.sizes))
    assert played(POLICIES[policy], service=replace(SERVICE, max_replicas=30)) == found  # the same seed, the same run


def test_builtin_is_asked_as_often_as_the_operator_looks() -> None:
    assert Builtin.shipped(SERVICE).every == _LOOK_SECONDS


def test_builtin_waits_as_long_as_the_api_says_by_default() -> None:
    scaling = parsed(autoscaling={"maxReplicas": 8}).autoscaling
    assert scaling is not None
    assert Builtin.shipped(SERVICE).policy.scale_down_delay == scaling.scale_down_delay.timedelta.total_seconds()


def test_a_queue_that_grows_while_replicas_load_costs_builtin_less_than_an_hpa() -> None:
    """Three times the load at once, and two minutes until a replica is ready."""
    times = [0.5 * number for number in range(1200)] + [600 + number / 6 for number in range(7200)]
    trace = Trace("step", times, [4.0] * len(times))
    slow = replace(SERVICE, loads=(120.0,), max_replicas=400)
    learning = Builtin.shipped(slow)
    steady = replace(learning, policy=replace(learning.policy, promise=None))
    most, learnt, theirs = (
        max(size for _, size in replay(trace, slow, each, replicas=6).sizes)
        for each in (steady, learning, POLICIES["hpa"](slow))
    )
    assert most < learnt < theirs  # the promise is broken meanwhile, which asks for more
    assert most <= 36  # 24 are worked on at a time, so 18 would do at 0.7


# -- traces

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,300,48
2023-11-16 18:15:50.6805900,150,99
2023-11-16 18:15:48.6805900,0,50
""".splitlines()


def test_an_azure_trace_is_read_and_its_work_goes_by_its_tokens() -> None:
    found = traces.azure("azure", AZURE, demand=5.0)
    assert [each - found.arrivals[0] for each in found.arrivals] == [0, 2, 4]
    assert found.works == [5.0, 5.0, 10.0]  # twenty request-seconds in four seconds


def test_rates_become_requests_at_those_rates() -> None:
    lines = ["seconds,requests_per_second", "0,1", "500,3", "1000,0"]
    found = traces.rates("rates", lines, [2.0], demand=8.0)
    early, late = (sum(begin <= each < begin + 500 for each in found.arrivals) for begin in (0, 500))
    assert (early, late) == (pytest.approx(1000, rel=0.1), pytest.approx(3000, rel=0.1))


def test_a_generated_week_has_days_and_a_weekend() -> None:
    found = traces.generated("week", days=7, mean=0.05, works=lambda _: 1.0)
    hours = [0] * 168
    for each in found.arrivals:
        hours[int(each // 3600)] += 1
    assert hours[14] > 3 * hours[2]
    assert sum(hours[:24]) > 1.5 * sum(hours[120:144])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["time,requests", "0,1"], "azure has no column TIMESTAMP and no column ContextTokens"),
        (AZURE[:2], "azure has 1 requests, and a replay needs some."),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(lines: list[str], why: str) -> None:
    with pytest.raises(traces.TraceError, match=re.escape(why)):
        traces.azure("azure", lines, demand=5.0)
