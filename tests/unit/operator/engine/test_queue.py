from __future__ import annotations

import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelservice_operator.engine.queue import Priority, WorkQueue
from modelservice_operator.kube.backoff import Backoff

STEADY = Backoff(first_seconds=1, most_seconds=60, jitter=0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, backoff=STEADY)


def test_a_key_waits_only_once_however_often_it_is_added(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a", Priority.CHILD)
    assert [queue.take(), queue.take()] == ["a", None]


def test_a_key_in_a_workers_hands_comes_round_again_when_it_is_added_meanwhile(queue: WorkQueue[str]) -> None:
    queue.add("a", Priority.CHILD)
    queue.take()
    queue.add("a", Priority.CHILD)
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"
    queue.done("a")
    assert queue.take() is None


def test_users_go_before_children_and_children_before_the_rest(queue: WorkQueue[str]) -> None:
    queue.add("resynced", Priority.RESYNC)
    queue.add("child", Priority.CHILD)
    queue.add("user", Priority.USER)
    assert [queue.take() for _ in range(3)] == ["user", "child", "resynced"]


def test_a_waiting_key_moves_up_when_a_user_asks_for_it_and_never_down(queue: WorkQueue[str]) -> None:
    queue.add("a", Priority.RESYNC)
    queue.add("b", Priority.RESYNC)
    queue.add("b", Priority.USER)
    queue.add("b", Priority.RESYNC)
    assert [queue.take(), queue.take(), queue.take()] == ["b", "a", None]


def test_keys_of_one_priority_keep_their_order(queue: WorkQueue[str]) -> None:
    for key in "cab":
        queue.add(key, Priority.CHILD)
    assert [queue.take() for _ in "cab"] == ["c", "a", "b"]


def test_of_several_delays_the_earliest_counts(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.now = 4.9
    assert queue.take() is None
    clock.now = 5
    assert queue.take() == "a"
    queue.done("a")
    clock.now = 100
    assert queue.take() is None


def test_looking_at_a_key_fulfils_its_delayed_wishes(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 10)
    queue.add("a", Priority.USER)
    assert queue.take() == "a"
    queue.done("a")
    clock.now = 10
    assert queue.take() is None


def test_failures_in_a_row_wait_longer_and_longer_until_one_success(queue: WorkQueue[str]) -> None:
    assert [queue.retry("a") for _ in range(4)] == [1, 2, 4, 8]
    queue.forget("a")
    assert queue.retry("a") == 1


def test_a_failed_key_waits_at_least_as_long_as_the_server_asks(queue: WorkQueue[str], clock: Clock) -> None:
    assert queue.retry("a", at_least=30) == 30
    clock.now = 29
    assert queue.take() is None
    clock.now = 30
    assert queue.take() == "a"


def test_who_knows_that_the_key_is_not_to_blame_may_bound_its_wait(queue: WorkQueue[str]) -> None:
    assert [queue.retry("a", at_most=3) for _ in range(4)] == [1, 2, 3, 3]
    assert queue.retry("a") == 16


def test_the_metrics_tell_depth_and_waits(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", Priority.USER)
    clock.now = 3
    queue.add("b", Priority.RESYNC)
    clock.now = 5
    assert (queue.depth, queue.longest_wait_seconds, queue.longest_work_seconds) == (2, 5, 0)
    queue.take()
    clock.now = 7
    assert (queue.depth, queue.longest_wait_seconds, queue.longest_work_seconds) == (1, 4, 2)


async def test_a_worker_is_woken_by_a_new_key() -> None:
    queue = WorkQueue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a", Priority.USER)
    assert await worker == "a"


async def test_a_worker_is_woken_when_a_delay_is_over() -> None:
    queue = WorkQueue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("late", 60)
    queue.add_after("soon", 0.01)
    assert await worker == "soon"


async def test_each_of_several_workers_gets_a_key_of_its_own() -> None:
    queue = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.add(key, Priority.CHILD)
    assert sorted(await asyncio.gather(*workers)) == ["a", "b", "c"]


async def test_a_closed_queue_hands_out_nothing_and_is_drained_when_the_last_worker_is_done() -> None:
    queue = WorkQueue()
    queue.add("a", Priority.USER)
    queue.add("b", Priority.USER)
    assert await queue.get() == "a"
    queue.close()
    waiting, drained = asyncio.create_task(queue.get()), asyncio.create_task(queue.drained())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert not drained.done()
    queue.done("a")
    await drained
    assert not waiting.done()
    waiting.cancel()


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order: nothing is lost, and no key is in two hands."""

    keys = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue = WorkQueue(clock=self.clock, backoff=STEADY)
        self.held = set()
        self.owed = set()  # added and not handed out since
        self.due = {}

    @rule(key=keys, priority=st.sampled_from(Priority))
    def add(self, key: str, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.owed.add(key)

    @rule(key=keys, seconds=st.integers(1, 20))
    def add_after(self, key: str, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + seconds)

    @rule(seconds=st.integers(1, 15))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def take(self) -> None:
        key = self.queue.take()
        due = {key for key, moment in self.due.items() if moment <= self.clock.now}
        for held in due & self.held:  # it fell due while a worker had it: it comes round again
            del self.due[held]
            self.owed.add(held)
        expected = (self.owed | due) - self.held
        if key is None:
            assert not expected
        else:
            assert key in expected
            self.held.add(key)
            self.owed.discard(key)
            self.due.pop(key, None)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.queue.done(key)
        self.held.discard(key)

    @invariant()
    def counts_what_waits(self) -> None:
        assert self.queue.depth <= 4


TestAnyHistory = AnyHistory.TestCase
