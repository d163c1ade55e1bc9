"""Shares of requests as pods."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.rollout.weights import pods_at


@pytest.mark.parametrize(
    ("weight", "promised", "pods"),
    [
        ("0.1", 1, (1, 1)),
        ("0.1", 3, (1, 3)),
        ("0.1", 10, (1, 9)),
        ("0.25", 3, (1, 3)),
        ("0.34", 2, (1, 2)),
        ("0.5", 2, (1, 1)),
        ("0.5", 3, (2, 2)),
        ("0.9", 3, (3, 1)),
        ("1", 3, (3, 0)),
    ],
)
def test_the_nearest_share_is_taken_and_the_fewest_pods_that_have_it(
    weight: str, promised: int, pods: tuple[int, int]
) -> None:
    assert pods_at(Decimal(weight), promised, promised + 1) == pods


def test_without_an_extra_pod_the_promised_ones_are_shared_out() -> None:
    assert pods_at(Decimal("0.1"), 3, 3) == (1, 2)
    assert pods_at(Decimal("0.1"), 1, 1) == (1, 0)


@given(st.decimals("0.01", "0.99", places=2), st.integers(1, 50))
def test_both_have_a_pod_and_together_at_most_one_more_than_promised(weight: Decimal, promised: int) -> None:
    new, old = pods_at(weight, promised, promised + 1)
    assert new >= 1
    assert old >= 1
    assert promised <= new + old <= promised + 1
