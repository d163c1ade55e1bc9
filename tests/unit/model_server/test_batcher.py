"""Which requests run together, and when: told with a loop, a worker and a clock that do only what the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server.batcher import Batcher, Ticket
from model_server.errors import RequestError
from model_server.limits import Limits
from model_server.metrics import Metrics, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.batch import Outcome
    from model_server.protocol.datatypes import Arrays


class Call:
    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """An event loop, a clock and a worker in one; time passes and work ends only by `passes` and `works`."""

    def __init__(self, *, pass_seconds: float = 0.01, **limits: float) -> None:
        self.pass_seconds = pass_seconds
        self.now = 100.0
        self.calls: list[Call] = []
        self.work: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.ran: list[list[float]] = []
        self.answers: dict[float, Any] = {}
        self.metrics = Metrics(64)
        self.batcher = Batcher(
            forward=self.forward,
            worker=self,
            loop=self,
            clock=lambda: self.now,
            limits=Limits(**limits),
            metrics=self.metrics,
        )

    def call_soon(self, callback: Callable[[], None]) -> Call:
        return self.call_later(-self.now, callback)  # due whatever the time

    def call_later(self, delay: float, callback: Callable[[], None]) -> Call:
        self.calls.append(Call(self.now + delay, callback))
        return self.calls[-1]

    def submit(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.work.append((work, done))

    def forward(self, inputs: Arrays) -> Arrays:
        self.ran.append(inputs[0][:, 0].tolist())
        self.now += self.pass_seconds
        return inputs

    def asks(self, value: float, *, rows: int = 1, width: int = 1) -> Ticket:
        def done(outcome: Outcome) -> None:
            assert value not in self.answers
            self.answers[value] = outcome.status if isinstance(outcome, RequestError) else outcome[0][:, 0].tolist()

        self.batcher.admit()
        return self.batcher.submit((np.full((rows, width), value, dtype=np.float32),), done)

    def passes(self, seconds: float = 0.0) -> None:
        until = self.now + seconds
        while due := [call for call in self.calls if call.at <= until]:
            call = min(due, key=lambda one: one.at)
            self.calls.remove(call)
            if not call.cancelled:
                self.now = max(self.now, call.at)
                call.callback()
        self.now = max(self.now, until)

    def works(self) -> None:
        work, done = self.work.pop(0)
        done(work())


def test_an_idle_server_runs_a_request_at_once() -> None:
    world = World()
    world.asks(1)
    world.passes()
    world.works()
    assert world.answers == {1: [1]}


def test_what_one_turn_of_the_loop_brings_runs_together() -> None:
    world = World()
    for value in (1, 2, 3):
        world.asks(value)
    world.passes()
    world.works()
    assert world.ran == [[1, 2, 3]]


def test_all_that_came_while_the_model_ran_is_the_next_batch() -> None:
    world = World()
    world.asks(1)
    world.passes()
    for value in (2, 3, 4):
        world.asks(value)
        world.passes(0.001)
    world.works()
    assert world.metrics.queue_requests.value == 0, "the next batch starts before the answers are written"
    world.works()
    assert world.ran == [[1], [2, 3, 4]]
    assert world.answers == {1: [1], 2: [2], 3: [3], 4: [4]}


def test_rows_are_counted_not_requests() -> None:
    world = World(max_batch_size=4)
    for value, rows in ((1, 2), (2, 1), (3, 2), (4, 2)):
        world.asks(value, rows=rows)
    world.passes()
    world.works()
    world.works()
    assert world.ran == [[1, 1, 2], [3, 3, 4, 4]]


def test_requests_of_different_shapes_never_share_a_batch_and_the_oldest_goes_first() -> None:
    world = World()
    for value, width in ((1, 5), (2, 7), (3, 5)):
        world.asks(value, width=width)
        world.now += 0.001
    world.passes()
    world.works()
    world.works()
    assert world.ran == [[1, 3], [2]]


def test_a_delay_waits_for_a_fuller_batch() -> None:
    world = World(max_batch_delay_seconds=0.01)
    world.asks(1)
    world.passes(0.009)
    assert not world.work
    world.asks(2)
    world.passes(0.001)
    world.works()
    assert world.ran == [[1, 2]]


def test_a_full_batch_does_not_wait_for_its_delay() -> None:
    world = World(max_batch_delay_seconds=10, max_batch_size=2)
    world.asks(1)
    world.asks(2)
    world.passes()
    world.works()
    assert world.ran == [[1, 2]]


def test_a_full_queue_turns_requests_away_and_says_when_to_come_back() -> None:
    world = World(max_queue=2)
    world.asks(1)
    world.passes()  # 1 runs
    world.asks(2)
    world.asks(3)
    with pytest.raises(RequestError, match="2 requests wait already") as caught:
        world.asks(4)
    assert caught.value.status == 429
    assert (b"retry-after", b"1") in caught.value.headers
    assert world.metrics.rejected[Rejection.QUEUE_FULL].value == 1


def test_a_request_larger_than_a_batch_is_refused() -> None:
    with pytest.raises(RequestError, match="has 65 rows; this server takes at most 64"):
        World().asks(1, rows=65)


def test_a_request_that_waited_too_long_is_given_up_and_never_runs() -> None:
    world = World(request_timeout_seconds=1)
    world.asks(1)
    world.passes(0.5)  # 1 runs and does not end
    world.asks(2)
    world.passes(0.5)
    assert world.answers == {1: 504}
    world.passes(0.5)
    assert world.answers == {1: 504, 2: 504}
    world.works()
    assert world.ran == [[1]]
    assert world.metrics.rejected[Rejection.DEADLINE].value == 1, "the first was not turned away: the model had it"


def test_a_request_whose_client_has_gone_does_not_run() -> None:
    world = World()
    world.asks(1)
    world.passes()
    gone = world.asks(2)
    world.asks(3)
    gone.cancel()
    world.works()
    world.works()
    assert world.ran == [[1], [3]]
    assert world.answers == {1: [1], 2: 499, 3: [3]}
    assert world.metrics.rejected[Rejection.CANCELLED].value == 1


def test_a_client_that_leaves_while_its_request_runs_costs_its_neighbours_nothing() -> None:
    world = World()
    gone = world.asks(1)
    world.asks(2)
    world.passes()
    gone.cancel()
    world.works()
    assert world.answers == {1: 499, 2: [2]}


def test_cancelling_twice_or_after_the_answer_does_nothing() -> None:
    world = World()
    ticket = world.asks(1)
    world.passes()
    world.works()
    ticket.cancel()
    ticket.cancel()
    assert world.answers == {1: [1]}
    assert world.metrics.queue_requests.value == 0


def test_the_oldest_wait_is_that_of_the_request_not_yet_running() -> None:
    world = World()
    assert world.metrics.oldest_seconds(world.now) == 0
    world.asks(1)
    world.passes(1)
    assert world.metrics.oldest_seconds(world.now) == 0
    world.asks(2)
    world.passes(2)
    assert world.metrics.oldest_seconds(world.now) == 2


def test_nothing_is_kept_of_what_has_ended() -> None:
    world = World(request_timeout_seconds=5)
    for value in range(1, 200):
        ticket = world.asks(value, width=value % 7 + 1)
        if value % 3 == 0:
            ticket.cancel()
        world.passes(0.1)
        while world.work:
            world.works()
    world.passes(60)
    assert len(world.answers) == 199
    assert (world.batcher._live, world.batcher._buckets, world.calls) == ({}, {}, [])


def test_a_quick_model_runs_on_the_loop_once_it_is_known_to_be_quick() -> None:
    world = World(pass_seconds=0.00005)
    world.asks(1)
    world.passes()
    world.works()  # the first time in the thread
    for value in (2, 3):
        world.asks(value)
        assert value not in world.answers, "what one turn of the loop brings still runs together"
    world.passes()
    world.works()  # two rows are news
    world.asks(4)
    world.asks(5)
    world.passes()
    assert world.ran == [[1], [2, 3], [4, 5]]
    assert (world.work, world.answers) == ([], {value: [value] for value in (1, 2, 3, 4, 5)})


def test_a_model_that_becomes_slow_goes_back_to_the_thread_and_returns_when_it_is_quick_again() -> None:
    world = World(pass_seconds=0.00005)
    world.asks(1)
    world.passes()
    world.works()
    world.pass_seconds = 1
    world.asks(2)
    world.passes()
    assert world.answers[2] == [2], "once it held up the loop"
    world.asks(3)
    world.passes()
    assert 3 not in world.answers
    world.pass_seconds = 0.00005
    world.works()
    for value in range(4, 100):
        world.asks(value)
        world.passes()
        if not world.work:
            break
        world.works()
    assert world.answers[value] == [value]


def test_on_the_loop_all_that_waits_still_runs_in_batches_that_fit() -> None:
    world = World(pass_seconds=0.00005, max_batch_size=2)
    world.asks(1, rows=2)
    world.passes()
    world.works()
    for value in (2, 3, 4, 5, 6):
        world.asks(value)
    world.passes()
    assert world.ran[1:] == [[2, 3], [4, 5], [6]]
    assert world.work == []


def test_a_large_request_does_not_wait_for_what_else_this_turn_of_the_loop_brings() -> None:
    world = World(pass_seconds=0.00005)
    world.asks(1, width=100_000)
    assert len(world.work) == 1
    world.works()
    world.asks(2, width=100_000)
    assert world.answers == {1: [1], 2: [2]}  # on the loop, now that it is known to be quick
    world.passes()
    assert world.ran == [[1], [2]]


def test_a_large_request_waits_for_its_delay() -> None:
    world = World(max_batch_delay_seconds=0.5)
    world.asks(1, width=100_000)
    world.passes(0.25)
    assert world.work == []
    world.passes(0.25)
    assert len(world.work) == 1


def test_a_request_that_an_answer_on_the_loop_brings_is_served_too() -> None:
    world = World(pass_seconds=0.00005)
    world.asks(1)
    world.passes()
    world.works()

    def ask_again(_outcome: Outcome) -> None:
        world.asks(3)

    world.batcher.submit((np.zeros((1, 1), dtype=np.float32),), ask_again)
    world.passes()
    assert world.answers[3] == [3]


def test_queue_time_and_batch_size_are_measured() -> None:
    world = World()
    world.asks(1)
    world.passes()
    world.asks(2, rows=3)
    world.passes(0.5)
    world.works()
    assert world.metrics.queue_seconds.total == pytest.approx(0.5 + world.pass_seconds)
    assert world.metrics.batch_size.total == 4
