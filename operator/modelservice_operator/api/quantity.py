"""Kubernetes quantities: read in every notation, compared by value, written in one.

`1000m` and `1` are one amount of CPU, `1024Mi` and `1073741824` one of memory; a custom resource keeps whatever its
author typed, so an operator that compared strings would roll pods for a change of notation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

# No sign: nobody asks for less than nothing.
PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?$"

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_FACTORS = {suffix: Decimal(1024) ** power for power, suffix in enumerate(_BINARY)} | {
    suffix: Decimal(1000) ** (power - _DECIMAL.index("")) for power, suffix in enumerate(_DECIMAL)
}
_FINEST = Decimal("0.001")  # the API server rounds up to it in what a pod asks for
_LARGEST = Decimal(2**63 - 1)
_EXACT = Context(prec=400)  # enough for every number that PATTERN and the length below let through
_LONGEST = 64


@dataclass(frozen=True, order=True)
class Quantity:
    """An amount of a resource."""

    value: Decimal

    @classmethod
    def parse(cls, text: str | int) -> Quantity:
        """Read `text` as the API server does for the resources of a pod: what is finer than 1m is rounded up to it."""
        written = str(text)
        parts = re.fullmatch(PATTERN, written) if len(written) <= _LONGEST else None
        if isinstance(text, bool) or parts is None:
            raise ValueError('must be a quantity such as 2, "500m" or "4Gi"')
        number, suffix = written[: parts.end(1)], parts[3] or ""
        if suffix[:1] in ("e", "E") and suffix[1:] not in ("", "i"):
            value = Decimal(number).scaleb(int(suffix[1:]), _EXACT)
        else:
            value = _EXACT.multiply(Decimal(number), _FACTORS[suffix])
        if value > _LARGEST:
            raise ValueError("must be less than 2^63")
        return cls(value.quantize(_FINEST, ROUND_UP, _EXACT))

    def __str__(self) -> str:
        """Write the shorter of 1Gi and 1073741824, of 10G and 9765625Ki: the API server stores either unchanged."""
        if not self.value:
            return "0"
        thousandths = int(_EXACT.divide(self.value, _FINEST))
        decimal = _shorten(thousandths, 1000, _DECIMAL[_DECIMAL.index("m") :])
        if thousandths % 1000:
            return decimal
        return min(decimal, _shorten(thousandths // 1000, 1024, _BINARY), key=len)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:  # noqa: ANN401 - pydantic's signature
        del source, handler
        return core_schema.no_info_plain_validator_function(
            lambda given: given if isinstance(given, cls) else cls.parse(_text_or_integer(given)),
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maxLength": _LONGEST,
            "pattern": PATTERN,
        }


def same(one: str | int, other: str | int) -> bool:
    """Tell whether two notations mean the same amount."""
    return Quantity.parse(one) == Quantity.parse(other)


def _shorten(number: int, step: int, suffixes: tuple[str, ...]) -> str:
    power = 0
    while number % step == 0 and power < len(suffixes) - 1:
        number, power = number // step, power + 1
    return f"{number}{suffixes[power]}"


def _text_or_integer(given: object) -> str | int:
    if isinstance(given, (str, int)):
        return given
    raise ValueError('must be a quantity such as 2, "500m" or "4Gi"')
