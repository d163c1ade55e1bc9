from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.kube.backoff import Backoff

WAIT = Backoff(first_seconds=0.5, most_seconds=60, jitter=0.2)


def test_each_failure_doubles_the_wait_up_to_the_most() -> None:
    assert [WAIT.seconds(failures, draw=0.5) for failures in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 32, 60]


@given(failures=st.integers(1, 10**6), draw=st.floats(0, 1))
def test_chance_moves_a_wait_by_no_more_than_the_jitter(failures: int, draw: float) -> None:
    middle = WAIT.seconds(failures, draw=0.5)
    assert 0.8 * middle - 1e-9 <= WAIT.seconds(failures, draw=draw) <= 1.2 * middle + 1e-9
