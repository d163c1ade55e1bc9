"""All rules of a service, as the groups of a rule file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modelservice_operator.slo import recordings
from modelservice_operator.slo.alerts import Links, Subject, burn_alerts, failing, health_alerts, input_drift
from modelservice_operator.slo.metrics import metrics_of
from modelservice_operator.slo.recordings import Promise

if TYPE_CHECKING:
    from modelservice_operator.api.types import ModelServiceSpec

Group = dict[str, Any]

FAST: Final = "15s"
SLOW: Final = "1m"


def rule_groups(namespace: str, name: str, spec: ModelServiceSpec, links: Links) -> list[Group]:
    """Return the groups for a service, none for one without objectives that nobody watches for drift.

    The long windows are looked at less often: they cost more and change less. Both times divide the five minutes whose
    counts are added up.
    """
    subject, groups = Subject(namespace, name, spec, links), []
    if spec.monitoring.drift is not None:
        groups.append(_group("drift", SLOW, [input_drift(subject, spec.monitoring.drift)]))
    if spec.slo is not None:
        groups += [_group("failing", FAST, [failing(subject)]), _group("health", SLOW, health_alerts(subject))]
        for objective in spec.slo.objectives:
            promise = Promise(namespace, name, objective, spec.slo.window, metrics_of(spec))
            fast = [*recordings.fast(promise), *burn_alerts(subject, promise, frozenset({"1h"}))]
            slow = [*recordings.slow(promise), *burn_alerts(subject, promise, frozenset({"6h", "1d", "3d"}))]
            groups += [_group(f"{objective.name}-fast", FAST, fast), _group(f"{objective.name}-slow", SLOW, slow)]
    return [group | {"name": f"{namespace}/{name}/{group['name']}"} for group in groups]


def _group(name: str, interval: str, rules: list[dict[str, Any]]) -> Group:
    return {"name": name, "interval": interval, "rules": rules}
