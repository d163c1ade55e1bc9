"""The children whose API a cluster may lack: of each what is wanted, whether that is possible, and why not. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.kube.resources import SERVICE_MONITORS, Resource
from modelservice_operator.render.service_monitor import service_monitor

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

    @property
    def possible(self) -> bool:
        """Whether the cluster can have one."""
        return not self.why_not


def optional_children(
    seen: Seen, config: Config, collectors: Collectors, why_not: Callable[[Resource, str], str]
) -> tuple[OptionalChild, ...]:
    """Return all that a service with a valid spec may have; `why_not` knows the cluster's APIs.

    Nobody asks for a ServiceMonitor: it is there wherever it can be, and where it cannot, status says nothing of it.
    What somebody has to select carries the labels of the configuration, or those that the cluster's collectors want.
    """
    assert seen.spec is not None  # noqa: S101 - see above
    is_wanted = config.monitoring.service_monitors
    own = names.service_labels(seen.name)

    def labels(kind: str) -> Mapping[str, str]:
        return config.monitoring.labels or collectors.labels(kind, own)

    return (
        OptionalChild(
            SERVICE_MONITORS,
            service_monitor(seen.namespace, seen.name, seen.spec, labels("ServiceMonitor")) if is_wanted else None,
            seen.children.service_monitors,
            why_not(SERVICE_MONITORS, seen.namespace),
        ),
    )
