"""Readings are exact: what every look has shown counts once, whatever pods come, go and start anew."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.monitoring.exposition import Snapshot
from modelservice_operator.monitoring.readings import Account, Counted, Pod, Reading, increase, quantile

BOUNDS = (0.1, 0.25, 1.0, math.inf)
SINCE = 100  # seconds into the history


def time(seconds: int) -> str:
    return f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"


def pod(name: str = "a", revision: str = "m-1", started: int = 0) -> Pod:
    return Pod(name, revision, time(started))


def told(requests: float = 0, errors: float | None = 0, **more: float) -> Snapshot:
    return Snapshot(requests, errors, **more)


def read(*looks: list[tuple[Pod, Snapshot | str]]) -> dict[str, Reading]:
    account = Account(time(SINCE))
    for look in looks:
        account = account.after(look)
    return account.readings()


def test_what_was_counted_before_does_not_count() -> None:
    reading = read([(pod(), told(1000, 500))], [(pod(), told(1010, 501))])["m-1"]
    assert (reading.requests, reading.errors, reading.error_rate) == (10, 1, 0.1)


def test_a_pod_that_was_started_since_counts_from_its_first_request() -> None:
    assert read([(pod(started=SINCE + 1), told(7, 2))])["m-1"].counted == Counted(7, 2)
    assert read([(pod(started=SINCE), told(7, 2))])["m-1"].counted == Counted(0, 0)


def test_a_pod_that_starts_anew_goes_on_and_one_that_is_gone_stays() -> None:
    one, two = pod("a", started=SINCE + 1), pod("b", started=SINCE + 1)
    reading = read([(one, told(5)), (two, told(3))], [(one, told(2))], [(one, told(4))])["m-1"]
    assert (reading.requests, reading.pods) == (5 + 4 + 3, 1)


def test_a_server_that_tells_its_birth_is_known_to_have_started_anew_though_nothing_is_less() -> None:
    before, after = told(5, born=10.0), told(5, born=20.0)
    assert increase(before, after).requests == 5
    assert increase(before, replace(after, born=10.5)).requests == 0  # some compute it at each look


def test_who_does_not_answer_is_named_and_forgets_nothing() -> None:
    one = pod(started=SINCE + 1)
    reading = read([(one, told(5, inflight=2))], [(one, "does not answer"), (pod("b"), "is strange")])["m-1"]
    assert (reading.requests, reading.pods, reading.inflight) == (5, 0, None)
    assert reading.silent == ("pod a does not answer", "pod b is strange")
    assert read([(one, "does not answer")], [(one, told(5))])["m-1"] == Reading(Counted(5, 0), pods=1)


def test_each_revision_has_its_own() -> None:
    found = read([(pod("a", "m-1", SINCE + 1), told(5)), (pod("b", "m-2", SINCE + 1), told(7, 7))])
    assert {name: (each.requests, each.error_rate) for name, each in found.items()} == {"m-1": (5, 0), "m-2": (7, 1)}


def test_what_a_server_does_not_tell_is_not_known() -> None:
    reading = read([(pod(), told(10, None))], [(pod(), told(20, None))])["m-1"]
    assert reading.requests == 10
    unknown = (reading.errors, reading.error_rate, reading.p95_seconds, reading.inflight, reading.waiting)
    assert {*unknown, reading.saturation} == {None}
    assert read([(pod(), told(10))])["m-1"].error_rate is None, "no requests have no error rate"


def test_saturation_is_the_share_that_waits_over_all_looks() -> None:
    one, two = pod("a"), pod("b")
    looks = [
        [(one, told(inflight=8, waiting=4)), (two, told(inflight=0, waiting=0))],
        [(one, told(inflight=4, waiting=0)), (two, told(inflight=4, waiting=4))],
    ]
    reading = read(*looks)["m-1"]
    assert (reading.inflight, reading.waiting, reading.saturation) == (8, 4, 0.5)
    assert read(looks[0][1:])["m-1"].saturation == 0


# -- generated histories


@dataclass
class Life:
    """A server from its start to its end; the moments of its events and of the looks that it answered."""

    started: int
    requests: list[tuple[int, bool, float]] = field(default_factory=list)  # when, whether it failed, how long it took
    looks: list[int] = field(default_factory=list)

    def tells(self) -> Snapshot:
        return Snapshot(
            requests=len(self.requests),
            errors=sum(failed for _, failed, _ in self.requests),
            latency={bound: sum(took <= bound for *_, took in self.requests) for bound in BOUNDS},
            born=float(self.started),
        )


@dataclass
class World:
    """Pods by name, each with its lives; the last look may have been at some of them only."""

    lives: dict[str, list[Life]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def pods(self) -> dict[str, Life]:
        return {name: lives[-1] for name, lives in self.lives.items() if name not in self.gone}

    def counted(self) -> Counted:
        """What some look has shown, counted event by event."""
        events = []
        for lives in self.lives.values():
            looked = [life for life in lives if life.looks]
            for life in looked:
                is_old = life is looked[0] and life.started <= SINCE
                after = life.looks[0] if is_old else -1
                events += [event for event in life.requests if after < event[0] <= life.looks[-1]]
        latency = {bound: float(sum(took <= bound for *_, took in events)) for bound in BOUNDS}
        return Counted(len(events), sum(failed for _, failed, _ in events), latency)


ACTS = st.one_of(
    st.tuples(st.just("request"), st.sampled_from("abc"), st.booleans(), st.sampled_from([0.1, 0.2, 0.25, 3.0])),
    st.tuples(st.just("look"), st.sets(st.sampled_from("abc"), max_size=1)),  # these do not answer
    st.tuples(st.sampled_from(["start", "end"]), st.sampled_from("abc")),
)


@given(st.lists(ACTS, max_size=60), st.integers(0, 2 * SINCE))
def test_every_event_that_a_look_has_shown_counts_once(acts: list[tuple[object, ...]], first: int) -> None:
    world, account = World(), Account(time(SINCE))
    for now, (act, *what) in enumerate(acts, start=first):
        match act, what:
            case "start", [str(name)] if name not in world.gone:
                world.lives.setdefault(name, []).append(Life(now))
            case "end", [str(name)] if name in world.lives:
                world.gone.add(name)
            case "request", [str(name), bool(failed), float(took)] if name in world.pods():
                world.pods()[name].requests.append((now, failed, took))
            case "look", [set(silent)] if now >= SINCE:
                look: list[tuple[Pod, Snapshot | str]] = []
                for name, life in world.pods().items():
                    if name in silent:
                        look.append((pod(name, started=life.started), "is silent"))
                    else:
                        life.looks.append(now)
                        look.append((pod(name, started=life.started), life.tells()))
                account = account.after(look)
    found, wanted = account.readings().get("m-1", Reading()).counted, world.counted()
    assert (found.requests, found.errors or 0) == (wanted.requests, wanted.errors)
    assert {bound: found.latency.get(bound, 0.0) for bound in BOUNDS} == wanted.latency


# -- quantiles


@pytest.mark.parametrize(
    ("share", "buckets", "found"),
    [
        (0.5, {1: 0, 2: 10, math.inf: 10}, 1.5),
        (0.95, {1: 10, 2: 20, math.inf: 20}, 1.9),
        (0.5, {1: 10, 2: 10, math.inf: 10}, 0.5),  # the first begins at 0
        (1.0, {1: 10, 2: 20, math.inf: 20}, 2.0),
        (0.95, {1: 10, 2: 20, math.inf: 40}, 2.0),  # the last bound stands for all above
        (0.5, {-1: 10, 2: 10, math.inf: 10}, -1.0),
        (0.5, {1: 10, 2: 4, math.inf: 20}, 1.0),  # what cannot be less is not
        (0.5, {1: 0, math.inf: 0}, None),
        (0.5, {math.inf: 10}, None),
        (0.5, {1: 10}, None),
        (0.5, {}, None),
    ],
)
def test_quantiles(share: float, buckets: dict[float, float], found: float | None) -> None:
    assert quantile(share, buckets) == found


@given(
    st.lists(st.floats(0.001, 20), min_size=1),
    st.sets(st.floats(0.001, 20), min_size=1, max_size=8).map(sorted),
    st.floats(0.01, 1),
)
def test_a_quantile_lies_in_the_bucket_in_which_it_is(values: list[float], bounds: list[float], share: float) -> None:
    counts = Counter(bisect_left(bounds, value) for value in values)
    buckets = dict(zip([*bounds, math.inf], accumulate(counts[at] for at in range(len(bounds) + 1)), strict=True))
    found = quantile(share, buckets)
    true = sorted(values)[math.ceil(share * len(values)) - 1]
    at = min(bisect_left(bounds, true), len(bounds) - 1)
    assert found is not None
    assert (0 if at == 0 else bounds[at - 1]) <= found <= bounds[at] or found == pytest.approx(bounds[at])
