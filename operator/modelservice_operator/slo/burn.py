"""How fast an error budget may go until somebody is told: the tiers of the SRE workbook, chapter 5, in exact numbers.

A tier fires while requests fail so fast that, over its long window, they would use up its part of the budget, and still
do so over the short one, which ends the alert soon after the failures end.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from modelservice_operator.api.types import SloWindow

if TYPE_CHECKING:
    from modelservice_operator.api.percentage import Percentage
    from modelservice_operator.api.types import Slo

CRITICAL: Final = "critical"
WARNING: Final = "warning"

MINUTES: Final = {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440, "3d": 4320}
DAYS: Final = {SloWindow.WEEK: 7, SloWindow.FOUR_WEEKS: 28, SloWindow.MONTH: 30}

# Severity, long and short window; and which percent of the budget is gone when the tier fires. In a week's budget the
# parts are larger, or the last tier would fire on what hardly matters.
_WINDOWS: Final = ((CRITICAL, "1h", "5m"), (CRITICAL, "6h", "30m"), (WARNING, "1d", "2h"), (WARNING, "3d", "6h"))
_MONTH: Final = ("2", "5", "10", "10")
_PERCENT: Final = {SloWindow.WEEK: ("8", "12.5", "20", "42"), SloWindow.FOUR_WEEKS: _MONTH, SloWindow.MONTH: _MONTH}


@dataclass(frozen=True, slots=True)
class Tier:
    """One pair of windows, and the burn rate that is too much for them."""

    severity: str
    long: str
    short: str
    part: Fraction
    """So much of the error budget is gone when it fires."""
    factor: Fraction
    """So many times as fast as would use up the budget in exactly the SLO's window."""
    budget: Fraction
    """The share of requests that may be bad."""

    @property
    def threshold(self) -> Fraction:
        """The share of bad requests above which the tier fires."""
        return self.factor * self.budget

    @property
    def can_fire(self) -> bool:
        """No more than all requests can be bad."""
        return self.threshold < 1

    @property
    def outage_seconds(self) -> float:
        """For how long all requests must fail, after steady traffic without failures, until the tier fires."""
        return float(60 * MINUTES[self.long] * self.threshold)


def tiers(window: SloWindow, target: Percentage) -> list[Tier]:
    """Return all tiers, the fastest first, also those that cannot fire."""
    parts = [Fraction(percent) / 100 for percent in _PERCENT[window]]
    return [
        Tier(severity, long, short, part, part * DAYS[window] * 1440 / MINUTES[long], budget_of(target))
        for (severity, long, short), part in zip(_WINDOWS, parts, strict=True)
    ]


def budget_of(target: Percentage) -> Fraction:
    """Return the share of requests that may be bad."""
    return 1 - Fraction(target.share)


def dropped(slo: Slo) -> list[str]:
    """Say which tiers are left out and why, one sentence for each."""
    return [
        f"{objective.name} at {objective.target}: no {tier.severity} alert over {tier.long}, "
        f"which would need {number(100 * tier.threshold)}% of the requests to be bad"
        for objective in slo.objectives
        for tier in tiers(slo.window, objective.target)
        if not tier.can_fire
    ]


def number(value: Fraction) -> str:
    """Write a number as PromQL reads it."""
    return f"{float(value):.12g}"
