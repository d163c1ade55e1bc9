"""Durations are those of Gateway API."""

from __future__ import annotations

import pytest

from model_server.limits import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("0ms", 0), ("250ms", 0.25), ("1m30s", 90), ("1h", 3600), ("1h2m3s4ms", 3723.004), ("99999s", 99999)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1.5s", "3q", "100000s", "1h1m1s1ms1s", " 1s", "1 s"])
def test_anything_else_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 10s"):
        parse_duration(text)
