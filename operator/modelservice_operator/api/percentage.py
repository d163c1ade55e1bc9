"""Shares of requests, written with their sign: `99.9%`. Exact: no share is ever a binary fraction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from modelservice_operator.api.text import TextValue

PATTERN = r"^(100([.]0{1,3})?|[0-9]{1,2}([.][0-9]{1,3})?)%$"


@dataclass(frozen=True, order=True)
class Percentage(TextValue):
    """A share, compared by value and written in one form."""

    longest_text: ClassVar[int] = len("100.000%")

    share: Decimal
    """From 0 to 1."""

    @classmethod
    def parse(cls, text: str) -> Percentage:
        """Read a number from 0 to 100 with at most three decimals and its sign."""
        if not re.fullmatch(PATTERN, text):
            raise ValueError("must be a percentage such as 99.9%, with at most three decimals")
        return cls(Decimal(text[:-1]) / 100)

    def __str__(self) -> str:
        """Write the canonical form, without zeros that say nothing."""
        return f"{(self.share * 100).normalize():f}%"
