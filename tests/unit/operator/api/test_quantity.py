"""Quantities: Kubernetes' grammar, compared by value, written in one form that tests/controlplane shows to a server."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.api.quantity import PATTERN, Quantity, same


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1000m", "1"),
        (1, "1"),
        ("1.0", "1"),
        ("1.", "1"),
        (".5", "500m"),
        ("0.5", "500m"),
        ("1500m", "1500m"),
        ("100u", "1m"),
        ("0", "0"),
        ("0Gi", "0"),
        ("000", "0"),
        ("1024Mi", "1Gi"),
        (1073741824, "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1.1Ki", "1126400m"),
        ("1e3", "1k"),
        ("1E3", "1k"),
        ("1e-3", "1m"),
        ("2.5e+2", "250"),
        ("1E", "1E"),
        ("7Ei", "7Ei"),
        ("1000000", "1M"),
        ("10G", "10G"),
        ("1024k", "1024k"),
        ("2048", "2Ki"),
        ("0.1n", "1m"),
        ("1.0000000001", "1001m"),
    ],
)
def test_every_notation_has_one_form(written: str | int, canonical: str) -> None:
    assert str(Quantity.parse(written)) == canonical


@pytest.mark.parametrize(
    "text", ["", ".", "m", "-1", "+1", "1 Gi", "1GB", "1gi", "1e", "0x10", "1_000", "٣", "1\n", "9" * 65, "1e999"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        Quantity.parse(text)


@pytest.mark.parametrize("text", ["8Ei", "9223372036854775808", "1e400"])
def test_more_than_64_bits_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        Quantity.parse(text)


def test_amounts_compare_by_value() -> None:
    assert same("1000m", 1)
    assert not same("1000m", "1001m")
    assert Quantity.parse("999Mi") < Quantity.parse("1Gi")


def test_the_value_can_be_reckoned_with() -> None:
    assert Quantity.parse("1500m").value * 2 == Decimal(3)


@given(st.from_regex(re.compile(PATTERN, re.ASCII), fullmatch=True))
def test_the_form_is_read_back_as_the_same_amount(text: str) -> None:
    try:
        amount = Quantity.parse(text)
    except ValueError:
        return  # larger than 64 bits, or longer than anybody writes
    assert re.fullmatch(PATTERN, str(amount))
    assert Quantity.parse(str(amount)) == amount
    assert str(Quantity.parse(str(amount))) == str(amount)
