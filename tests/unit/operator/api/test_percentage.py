"""Shares of requests: exact, compared by value, written in one form."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.api.percentage import Percentage


@pytest.mark.parametrize(
    ("written", "share", "canonical"),
    [
        ("99.9%", "0.999", "99.9%"),
        ("99.900%", "0.999", "99.9%"),
        ("99.999%", "0.99999", "99.999%"),
        ("50%", "0.5", "50%"),
        ("90.0%", "0.9", "90%"),
        ("0%", "0", "0%"),
        ("100.0%", "1", "100%"),
    ],
)
def test_it_is_read_exactly(written: str, share: str, canonical: str) -> None:
    found = Percentage.parse(written)
    assert found.share == Decimal(share)
    assert str(found) == canonical


@pytest.mark.parametrize("text", ["", "99.9", "0.999", "-1%", "100.1%", "99.9999%", "99,9%", "99.9 %", "99.%", "٩%"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a percentage such as"):
        Percentage.parse(text)


@given(st.integers(min_value=0, max_value=100_000))
def test_what_is_written_is_read_as_the_same(thousandths: int) -> None:
    found = Percentage(Decimal(thousandths) / 100_000)
    assert Percentage.parse(str(found)) == found
