"""The children whose API a cluster may lack: of each what is wanted, whether that is possible, and why not. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelservice_operator import limits, names
from modelservice_operator.kube.resources import ALERTMANAGER_CONFIGS, PROMETHEUS_RULES, SERVICE_MONITORS, Resource
from modelservice_operator.render.alertmanager_config import alertmanager_config
from modelservice_operator.render.prometheus_rule import prometheus_rule
from modelservice_operator.render.service_monitor import service_monitor
from modelservice_operator.slo import Links

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelservice_operator.config import Config
    from modelservice_operator.monitoring.collectors import Collectors
    from modelservice_operator.observe import ByName, Seen

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OptionalChild:
    """One kind of child of one service."""

    resource: Resource
    wanted: Body | None
    """Its manifest; None: the service is to have none."""
    live: ByName
    why_not: str
    """Why the cluster can have none."""
    refusal: str = ""
    """Why the service is to have none, although it asks for one."""

    @property
    def possible(self) -> bool:
        """Whether the cluster can have one."""
        return not self.why_not


def links_of(config: Config) -> Links:
    """Return where alerts lead."""
    return Links(config.monitoring.runbook_url, config.monitoring.dashboard_url)


def optional_children(
    seen: Seen, config: Config, collectors: Collectors, why_not: Callable[[Resource, str], str]
) -> tuple[OptionalChild, ...]:
    """Return all that a service with a valid spec may have; `why_not` knows the cluster's APIs.

    Nobody asks for a ServiceMonitor: it is there wherever it can be, and where it cannot, status says nothing of it.
    Nor does it of a PrometheusRule: who promises something need not have asked for a watch over it.
    What somebody has to select carries the labels of the configuration, or those that the cluster's collectors want.
    """
    assert seen.spec is not None  # noqa: S101 - see above
    namespace, name, spec, monitoring = seen.namespace, seen.name, seen.spec, config.monitoring
    links = links_of(config)
    alerting = spec.monitoring.alerting
    refusal = limits.refused_receivers(alerting.receiver, config) if alerting else ""
    own = names.service_labels(seen.name)

    def labels(kind: str) -> Mapping[str, str]:
        return monitoring.labels or collectors.labels(kind, own)

    return (
        OptionalChild(
            SERVICE_MONITORS,
            service_monitor(namespace, name, spec, labels("ServiceMonitor")) if monitoring.service_monitors else None,
            seen.children.service_monitors,
            why_not(SERVICE_MONITORS, namespace),
        ),
        OptionalChild(
            PROMETHEUS_RULES,
            prometheus_rule(namespace, name, spec, labels("PrometheusRule"), links)
            if monitoring.prometheus_rules
            else None,
            seen.children.prometheus_rules,
            why_not(PROMETHEUS_RULES, namespace),
        ),
        OptionalChild(
            ALERTMANAGER_CONFIGS,
            alertmanager_config(namespace, name, alerting.receiver, labels("AlertmanagerConfig"))
            if alerting and not refusal
            else None,
            seen.children.alertmanager_configs,
            why_not(ALERTMANAGER_CONFIGS, namespace),
            refusal,
        ),
    )
