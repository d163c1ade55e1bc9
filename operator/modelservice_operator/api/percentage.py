"""Shares of requests, written with their sign: `99.9%`. Exact: no share is ever a binary fraction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

PATTERN = r"^(100([.]0{1,3})?|[0-9]{1,2}([.][0-9]{1,3})?)%$"
LONGEST_TEXT = len("100.000%")


@dataclass(frozen=True, order=True)
class Percentage:
    """A share, compared by value and written in one form."""

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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401 - pydantic's signature
        del source, handler
        return core_schema.no_info_plain_validator_function(
            lambda given: given if isinstance(given, cls) else cls.parse(given if isinstance(given, str) else ""),
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {"type": "string", "maxLength": LONGEST_TEXT}
