"""What Prometheus says of error budgets, as status tells it: what a person would see; unknown where it is silent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from modelservice_operator.api.reasons import Reason

if TYPE_CHECKING:
    from modelservice_operator.api.types import Slo
    from modelservice_operator.monitoring.monitored import Judgement

Body = dict[str, Any]

# Of all services at once. The burn rate is that of the last hour, which decides the fastest page, too.
REMAINING = 'slo:period_error_budget_remaining:ratio{modelservice!=""}'
BURN_RATE = (
    'slo:sli_error:ratio_rate1h{modelservice!=""} / ignoring (sloth_window) slo:error_budget:ratio{modelservice!=""}'
)

Sample: TypeAlias = tuple[Mapping[str, str], float]
"""The labels of a series and its value."""

_NEAR_PERCENT = 0.5
_NEAR_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one objective."""

    remaining: float | None = None
    """The share of the error budget that is left; below 0, more is gone than there was."""
    burn_rate: float | None = None
    """How many times as fast as allowed it goes."""


Known: TypeAlias = Mapping[str, Figures]
"""What is known of a service, by objective."""


def figures(remaining: Sequence[Sample], burning: Sequence[Sample]) -> dict[tuple[str, str], dict[str, Figures]]:
    """Return what is known by namespace and name; of several answers, as of a pair of replicas, the worst counts."""
    left, rates = _by_objective(remaining, min), _by_objective(burning, max)
    found: dict[tuple[str, str], dict[str, Figures]] = {}
    for namespace, service, objective in left | rates:
        at = (namespace, service, objective)
        found.setdefault((namespace, service), {})[objective] = Figures(left.get(at), rates.get(at))
    return found


def _by_objective(samples: Sequence[Sample], worst: Any) -> dict[tuple[str, str, str], float]:  # noqa: ANN401 (min or max)
    found: dict[tuple[str, str, str], float] = {}
    for labels, value in samples:
        at = (labels.get("namespace", ""), labels.get("modelservice", ""), labels.get("slo", ""))
        if math.isfinite(value):
            found[at] = worst(value, found.get(at, value))
    return found


def is_news(before: Known, after: Known) -> bool:
    """Tell whether a person would see the difference."""
    return before.keys() != after.keys() or any(
        _percent(_percent("", old.remaining), after[name].remaining) != _percent("", old.remaining)
        or _rate(_rate("", old.burn_rate), after[name].burn_rate) != _rate("", old.burn_rate)
        for name, old in before.items()
    )


def remembered(told: Sequence[Body]) -> Known:
    """Return what a status tells, for as long as nobody has said more."""
    return {
        each["name"]: Figures(
            remaining=float(each["budgetRemaining"].removesuffix("%")) / 100 if "budgetRemaining" in each else None,
            burn_rate=float(each["burnRate"]) if "burnRate" in each else None,
        )
        for each in told
        if "budgetRemaining" in each or "burnRate" in each
    }


@dataclass(frozen=True, slots=True)
class Quality:
    """How a service keeps what it promises, as its status tells it."""

    within_budget: Judgement
    objectives: list[Body]


class Silence(Enum):
    """Why nothing is known of any service."""

    NOBODY_TO_ASK = (
        Reason.NO_PROMETHEUS,
        "The operator's configuration names no Prometheus (values.yaml: prometheus.url).",
    )
    NO_ANSWER = (
        Reason.PROMETHEUS_UNAVAILABLE,
        "The Prometheus of the operator's configuration does not answer; the operator's log has its words.",
    )
    NOT_YET = Reason.PROMETHEUS_UNAVAILABLE, "The Prometheus of the operator's configuration has not answered yet."


def quality(slo: Slo, found: Known | Silence, told: Sequence[Body]) -> Quality:
    """Tell how a service keeps what it promises; `told` is what its status tells already.

    Who has just started and not yet asked tells the same again.
    """
    known = found if not isinstance(found, Silence) else remembered(told) if found is Silence.NOT_YET else {}
    judgement = within_budget(slo, known)
    if isinstance(found, Silence) and not known:
        judgement = ("Unknown", *found.value)
    return Quality(judgement, shown(slo, known, told))


def shown(slo: Slo, known: Known, told: Sequence[Body]) -> list[Body]:
    """Return what status tells of each objective, the one with the least budget first.

    What was told stays while the figures are near it, so that one between two numbers is not written over and over.
    """
    before = {each["name"]: each for each in told}
    entries = []
    for objective in slo.objectives:
        name = objective.name.value
        it, old = known.get(name, Figures()), before.get(name, {})
        budget = _percent(old.get("budgetRemaining", ""), it.remaining)
        rate = _rate(old.get("burnRate", ""), it.burn_rate)
        entries.append(
            {
                "name": name,
                "target": str(objective.target),
                **({"budgetRemaining": budget} if budget else {}),
                **({"burnRate": rate} if rate else {}),
            }
        )
    return sorted(entries, key=lambda it: float(it.get("budgetRemaining", "1000%").removesuffix("%")))


def within_budget(slo: Slo, known: Known) -> Judgement:
    """Judge whether a service keeps what it promises."""
    names = [objective.name.value for objective in slo.objectives]
    left = {name: known[name].remaining for name in names if name in known}
    if spent := [name for name in names if (share := left.get(name)) is not None and share <= 0]:
        return "False", Reason.BUDGET_EXHAUSTED, f"The error budget of {' and '.join(spent)} is spent."
    if silent := [name for name in names if left.get(name) is None]:
        words = (
            f"Prometheus has no budget of {' and '.join(silent)}: its rules have seen no request of the model, or are"
        )
        return "Unknown", Reason.NO_BUDGET_DATA, f"{words} not loaded (see condition Monitored)."
    return "True", Reason.WITHIN_BUDGET, "Every objective has some of its error budget left."


def _percent(told: str, share: float | None) -> str:
    """Write a budget in whole percent, rounded up: only one that is spent is 0% or less."""
    if share is None:
        return ""
    percent, before = share * 100, float(told.removesuffix("%") or "nan")
    if before - 1 - _NEAR_PERCENT < percent <= before + _NEAR_PERCENT and (before > 0) == (percent > 0):
        return told
    return f"{math.ceil(round(percent, 6))}%"


def _rate(told: str, rate: float | None) -> str:
    """Write a burn rate to one decimal."""
    if rate is None:
        return ""
    before = float(told or "nan")
    return told if abs(rate - before) <= _NEAR_RATE * max(1.0, before) else f"{rate:.1f}"
