"""Judges what an evaluation measured of a revision by the bounds of spec.evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.api.types import Evaluation, EvaluationMetric

# Among what was measured:
DATASET = "dataset"  # the digest of what it was measured on
SATURATION = "saturation_concurrency"


class GateVerdict(StrEnum):
    """Whether a bound is kept."""

    PASSED = "Passed"
    FAILED = "Failed"
    PENDING = "Pending"


@dataclass(frozen=True, slots=True)
class Gate:
    """One metric that must be reached."""

    name: str
    verdict: GateVerdict
    value: str
    """What was measured; empty as long as nothing is."""
    limit: str
    """What it must keep, in words."""

    @property
    def sentence(self) -> str:
        """Say how it went."""
        return f"{self.name} is {self.value}, and must be {self.limit}"


def gates(evaluation: Evaluation, measured: Mapping[str, str], stable: Mapping[str, str]) -> tuple[Gate, ...]:
    """Return a gate for each metric; `stable` is what was measured of the stable revision when it was let in.

    Where the stable revision was measured on other data, or not at all, nobody can say what a regression is.
    """
    comparable = stable if stable.get(DATASET) == measured.get(DATASET) else {}
    return tuple(
        _gate(metric, measured.get(metric.name, ""), comparable.get(metric.name)) for metric in evaluation.metrics
    )


def _gate(metric: EvaluationMetric, value: str, before: str | None) -> Gate:
    sign = 1 if metric.name.is_better_when_larger else -1
    found, limits, kept = number(value), [], True
    if metric.min:
        limits.append(f"at least {metric.min}")
        kept &= found is not None and found >= _bound(metric.min)
    if metric.max:
        limits.append(f"at most {metric.max}")
        kept &= found is not None and found <= _bound(metric.max)
    if metric.max_regression:
        limit, old = f"at most {metric.max_regression} worse than the stable revision", number(before or "")
        limits.append(f"{limit} ({before})" if before else limit)
        kept &= old is None or found is None or sign * (old - found) <= _bound(metric.max_regression)
    verdict = GateVerdict.PENDING if found is None else GateVerdict.PASSED if kept else GateVerdict.FAILED
    return Gate(metric.name.value, verdict, value, " and ".join(limits))


def number(text: str) -> Decimal | None:
    """Read a decimal that is finite; None: it is none."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _bound(text: str) -> Decimal:
    """Read a bound: a decimal, or seconds."""
    if text.endswith("ms"):
        return Decimal(text[:-2]) / 1000
    return Decimal(text.removesuffix("s"))
