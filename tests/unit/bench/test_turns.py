"""A comparison in turns meets both sides alike, and one bad round does not decide it."""

from __future__ import annotations

from turns import in_turns, times_faster


def test_each_side_comes_first_as_often() -> None:
    order: list[str] = []

    def side(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    assert in_turns(3, lambda: side("a", 2.0), lambda: side("b", 1.0)) == ([2.0] * 3, [1.0] * 3)
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_a_round_with_a_neighbour_does_not_decide() -> None:
    assert times_faster([2, 2, 2, 200, 2], [1, 1, 50, 1, 1]) == 2
