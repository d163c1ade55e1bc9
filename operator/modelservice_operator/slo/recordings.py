"""The series that alerts, dashboards and people read, named and labelled as Sloth's, so that its dashboards fit.

Budgets are kept in events, not in averages of ratios: an hour of much traffic weighs more than one of little, and hours
without any weigh nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from modelservice_operator.slo.burn import DAYS, budget_of, number
from modelservice_operator.slo.indicators import indicator

if TYPE_CHECKING:
    from modelservice_operator.api.types import Objective, SloWindow
    from modelservice_operator.slo.metrics import Metrics

Rule = dict[str, Any]

REQUESTS: Final = "slo:requests:increase5m"
ERRORS: Final = "slo:errors:increase"
RATIO: Final = "slo:sli_error:ratio_rate"

# Prometheus' own name for a window, which Sloth uses in the names of series.
_PERIODS: Final = {7: "1w", 28: "4w", 30: "30d"}


@dataclass(frozen=True, slots=True)
class Promise:
    """One objective of one service, and how its series are found."""

    namespace: str
    service: str
    objective: Objective
    window: SloWindow
    metrics: Metrics
    """What the server calls what it is about."""

    @property
    def id(self) -> str:
        """The name of the objective among all of a cluster."""
        return f"{self.namespace}/{self.service}/{self.objective.name}"

    @property
    def labels(self) -> dict[str, str]:
        """What is written on every series of it."""
        return {
            "namespace": self.namespace,
            "modelservice": self.service,
            "slo": self.objective.name.value,
            "sloth_id": self.id,
            "sloth_service": f"{self.namespace}/{self.service}",
            "sloth_slo": self.objective.name.value,
        }

    def series(self, name: str) -> str:
        """Return the query for one series of it."""
        return f'{name}{{sloth_id="{self.id}"}}'


def selector(namespace: str, service: str) -> str:
    """Return what selects the series of a service's own pods."""
    return f'namespace="{namespace}",modelservice="{service}"'


def fast(promise: Promise) -> list[Rule]:
    """Return what a page must not wait for."""
    it = indicator(promise.objective, selector(promise.namespace, promise.service), promise.metrics)
    burn_rate = f"{promise.series(f'{RATIO}5m')} / {number(budget_of(promise.objective.target))}"
    return [
        _ratio(promise, "5m", it.ratio_over("5m")),
        _record(promise, f"{ERRORS}1h", it.bad_over("1h")),
        _ratio(promise, "1h", it.ratio_over("1h")),
        _record(promise, "slo:current_burn_rate:ratio", burn_rate),
    ]


def slow(promise: Promise) -> list[Rule]:
    """Return the rest: long windows, which from a day on are sums of what was counted every five minutes."""
    it = indicator(promise.objective, selector(promise.namespace, promise.service), promise.metrics)
    days = DAYS[promise.window]
    return [
        _record(promise, REQUESTS, it.total_over("5m")),
        _record(promise, f"{ERRORS}5m", it.bad_over("5m")),
        *(_ratio(promise, window, it.ratio_over(window)) for window in ("30m", "2h", "6h")),
        _record(promise, f"{ERRORS}6h", it.bad_over("6h")),
        *(_record(promise, f"{ERRORS}{window}", _sum(promise, f"{ERRORS}5m", window)) for window in ("1d", "3d")),
        *(_ratio(promise, window, _share(promise, window)) for window in ("1d", "3d")),
        _ratio(promise, _PERIODS[days], _share(promise, f"{days}d")),
        *_budget(promise, days),
    ]


def _budget(promise: Promise, days: int) -> list[Rule]:
    target = promise.objective.target
    budget = number(budget_of(target))
    spent = f"{promise.series(RATIO + _PERIODS[days])} / {budget}"
    info = {"sloth_objective": str(target).removesuffix("%"), "sloth_mode": "modelservice-operator"}
    return [
        _record(promise, "slo:period_burn_rate:ratio", spent),
        _record(promise, "slo:period_error_budget_remaining:ratio", f"1 - {spent}"),
        _record(promise, "slo:objective:ratio", f"vector({number(1 - budget_of(target))})"),
        _record(promise, "slo:error_budget:ratio", f"vector({budget})"),
        _record(promise, "slo:time_period:days", f"vector({days})"),
        _record(promise, "sloth_slo_info", "vector(1)", info),
    ]


def _share(promise: Promise, window: str) -> str:
    return f"{_sum(promise, f'{ERRORS}5m', window)} / ({_sum(promise, REQUESTS, window)} > 0)"


def _sum(promise: Promise, name: str, window: str) -> str:
    """Add up counts of five minutes each; looking every five minutes, none is missed and none is taken twice."""
    return f"sum_over_time({promise.series(name)}[{window}:5m])"


def _ratio(promise: Promise, window: str, query: str) -> Rule:
    return _record(promise, RATIO + window, query, {"sloth_window": window})


def _record(promise: Promise, name: str, query: str, labels: dict[str, str] | None = None) -> Rule:
    return {"record": name, "expr": query, "labels": promise.labels | (labels or {})}
