"""What may be asked for, and how figures are written."""

from __future__ import annotations

import signal
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from model_server.errors import ModelError, Reason
from model_server.evaluate import parse_metrics
from model_server.evaluate.evaluate import METRICS, _within, decimal

DOCUMENTATION = Path(__file__).parents[4] / "docs/model-server.md"


def test_metrics_are_asked_for_by_name() -> None:
    assert parse_metrics("f1,latency_p95,f1") == ("f1", "latency_p95")
    assert parse_metrics("") == ()
    for text, said in (("f2", "'f2' is not a metric; it is one of accuracy,"), ("f1,", "'' is not a metric")):
        with pytest.raises(ModelError, match=said):
            parse_metrics(text)
    with pytest.raises(ModelError, match="a model is judged by one of the two"):
        parse_metrics("latency_p50,accuracy,mse")


def test_every_metric_is_documented() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1, "1"),
        (350 / 360, "0.972222"),
        (0.00123456789, "0.00123457"),
        (12345678.9, "12345700"),
        (64, "64"),
    ],
)
def test_figures_are_decimals_of_six_digits(value: float, text: str) -> None:
    assert decimal("mse", value) == text


@given(value=some.floats(0, allow_infinity=False, allow_subnormal=False))
def test_no_figure_has_an_exponent_or_is_far_off(value: float) -> None:
    text = decimal("mse", value)
    assert set(text) <= set("0123456789.")
    assert abs(Decimal(text) - Decimal(value)) <= Decimal(value) * Decimal("0.000005001")


def test_figures_that_are_none_are_told() -> None:
    with pytest.raises(ModelError, match="mse is nan"):
        decimal("mse", float("nan"))


def test_the_end_of_the_time_is_no_error_of_whatever_it_interrupts() -> None:
    too_late = pytest.raises(ModelError, match=r"not done within 0.01 s \(--timeout\)")
    with too_late as ended, _within(0.01), suppress(Exception):
        signal.pause()
    assert ended.value.reason is Reason.UNREACHABLE
