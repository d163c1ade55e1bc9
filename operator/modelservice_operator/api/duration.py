"""Durations in Gateway API's grammar (GEP-2257): `10m`, `250ms`, `1h30m`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from modelservice_operator.api.text import TextValue

PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"

_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_LONGEST = 100_000 * _MILLISECONDS["h"] - 1  # more could not be written in the canonical form


@dataclass(frozen=True, order=True)
class Duration(TextValue):
    """A span of time in whole milliseconds, compared by length and written in one form."""

    longest_text: ClassVar[int] = 4 * len("99999ms")

    milliseconds: int

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read one to four numbers with units, in any order, which add up."""
        if not re.fullmatch(PATTERN, text):
            raise ValueError("must be a duration such as 250ms, 10m or 1h30m")
        terms = re.findall(r"([0-9]+)(h|ms|m|s)", text)
        milliseconds = sum(int(number) * _MILLISECONDS[unit] for number, unit in terms)
        if milliseconds > _LONGEST:
            raise ValueError("must be at most 99999h59m59s999ms")
        return cls(milliseconds)

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.milliseconds / 1000

    @property
    def timedelta(self) -> timedelta:
        """The length as Python's own type."""
        return timedelta(milliseconds=self.milliseconds)

    def __str__(self) -> str:
        """Write the canonical form: largest unit first, no unit that is zero, `0s` for nothing."""
        text, rest = "", self.milliseconds
        for unit, size in _MILLISECONDS.items():
            number, rest = divmod(rest, size)
            text += f"{number}{unit}" if number else ""
        return text or "0s"
