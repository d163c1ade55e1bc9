"""A loop is kept awake only where the last request came soon, for one window; told with a clock that a test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_server.busy_poll import WINDOW_SECONDS, BusyPoll

if TYPE_CHECKING:
    from collections.abc import Callable

SOON, LATE = WINDOW_SECONDS / 4, WINDOW_SECONDS * 2


class World:
    """A loop whose every turn takes a tenth of a window, and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls_soon: list[Callable[[], None]] = []
        self.poll = BusyPoll(self.calls_soon.append, lambda: self.now)

    def asks(self, *, after: float) -> None:
        self.now += after
        self.poll.taken()
        self.poll.answered()

    def turns(self) -> int:
        """Go on until the loop would sleep."""
        count = 0
        while self.calls_soon:
            (call,) = self.calls_soon
            self.calls_soon.clear()
            self.now += WINDOW_SECONDS / 10
            call()
            count += 1
        return count


def test_a_first_request_costs_nothing_more() -> None:
    world = World()
    world.asks(after=0)
    assert world.turns() == 0


def test_behind_a_request_that_came_soon_the_loop_stays_awake_for_one_window() -> None:
    world = World()
    world.asks(after=0)
    world.asks(after=SOON)
    assert 9 <= world.turns() <= 12


def test_one_that_comes_late_ends_it() -> None:
    world = World()
    world.asks(after=0)
    world.asks(after=SOON)
    world.turns()
    world.asks(after=LATE)
    assert world.turns() == 0


def test_it_does_not_turn_while_a_request_is_in_hand() -> None:
    world = World()
    world.asks(after=0)
    world.asks(after=SOON)
    world.poll.taken()
    assert world.turns() == 1
    world.poll.answered()
    assert world.turns() > 1


def test_two_in_hand_are_waited_for_both() -> None:
    world = World()
    world.asks(after=0)
    world.now += SOON
    world.poll.taken()
    world.poll.taken()
    world.poll.answered()
    assert not world.calls_soon
    world.poll.answered()
    assert len(world.calls_soon) == 1


def test_a_request_that_is_answered_between_two_turns_does_not_make_it_turn_twice() -> None:
    world = World()
    world.asks(after=0)
    for _ in range(5):
        world.asks(after=SOON / 10)
    assert len(world.calls_soon) == 1
