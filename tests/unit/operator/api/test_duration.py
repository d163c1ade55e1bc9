"""Durations as in Gateway API's GEP-2257."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.api.duration import PATTERN, Duration


@pytest.mark.parametrize(
    ("written", "milliseconds", "canonical"),
    [
        ("250ms", 250, "250ms"),
        ("0ms", 0, "0s"),
        ("0h0m0s", 0, "0s"),
        ("60s", 60_000, "1m"),
        ("90m", 5_400_000, "1h30m"),
        ("10s30m1h", 5_410_000, "1h30m10s"),
        ("1500ms", 1_500, "1s500ms"),
        ("100ms200ms300ms", 600, "600ms"),
        ("99999h", 359_996_400_000, "99999h"),
    ],
)
def test_terms_add_up_and_are_written_largest_first(written: str, milliseconds: int, canonical: str) -> None:
    duration = Duration.parse(written)
    assert duration.milliseconds == milliseconds
    assert duration.seconds == duration.timedelta.total_seconds() == milliseconds / 1000
    assert str(duration) == canonical


@pytest.mark.parametrize("text", ["", "1", "-1s", "1.5h", "1d", "10us", "1 s", "100000s", "1h1h1h1h1h", "1s\n", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as"):
        Duration.parse(text)


def test_what_the_canonical_form_cannot_say_is_refused() -> None:
    assert str(Duration.parse("99999h59m59s999ms")) == "99999h59m59s999ms"
    with pytest.raises(ValueError, match="must be at most 99999h59m59s999ms"):
        Duration.parse("99999h1h")


@given(st.from_regex(re.compile(PATTERN, re.ASCII), fullmatch=True))
def test_the_form_is_read_back_as_the_same_duration(text: str) -> None:
    try:
        duration = Duration.parse(text)
    except ValueError:
        return  # too long to be written in one form
    assert Duration.parse(str(duration)) == duration
