"""Where the metrics of a service's pods are, as the pods themselves tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.api.types import RuntimeName
from modelservice_operator.monitoring.readings import Pod
from modelservice_operator.slo.metrics import Metrics, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelservice_operator.api.types import ModelServiceSpec
    from modelservice_operator.rollout.situation import Entry

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One page of metrics."""

    pod: Pod
    url: str
    metrics: Metrics
    """What its server calls them."""


def targets(spec: ModelServiceSpec, revisions: Iterable[Entry], pods: Iterable[Body]) -> list[Target]:
    """Return the pages of all pods of the `revisions` whose server is up, also of those that are on their way out.

    A revision of another runtime than the spec's has its own port and names. What a Custom server calls its metrics is
    in the spec alone; where it does not say, there is nothing to read.
    """
    pages = {entry.name: (_place(entry), _metrics(entry, spec)) for entry in revisions}
    found = []
    for pod in pods:
        revision = pod["metadata"]["labels"].get(names.REVISION, "")
        place, metrics = pages.get(revision, ("", Metrics()))
        started, address = _started(pod), (pod.get("status") or {}).get("podIP")
        if started and address and place and (metrics.requests or metrics.latency or metrics.inflight):
            host = f"[{address}]" if ":" in address else address
            here = Pod(pod["metadata"]["name"], revision, started)
            found.append(Target(here, f"http://{host}:{place}", metrics))
    return found


def _runtime(entry: Entry) -> str:
    return str((entry.spec.get("runtime") or {}).get("name", RuntimeName.TORCH))


def _metrics(entry: Entry, spec: ModelServiceSpec) -> Metrics:
    """Return what a revision's server calls its metrics; nothing of a runtime that only a newer version knows."""
    name = _runtime(entry)
    return metrics_of(spec, RuntimeName(name)) if name in {*RuntimeName} else Metrics()


def _place(entry: Entry) -> str:
    """Return port and path; empty: the revision has no metrics."""
    path = "/metrics"
    if _runtime(entry) == RuntimeName.CUSTOM:
        path = entry.spec["runtime"].get("metricsPath", "")
    ports = {port.get("name"): port["containerPort"] for port in _server(entry).get("ports") or ()}
    port = ports.get(names.METRICS_PORT) or ports.get(names.HTTP_PORT)
    return f"{port}{path}" if path and port else ""


def _server(entry: Entry) -> Body:
    containers: list[Body] = entry.template["spec"]["containers"]
    return next((each for each in containers if each["name"] == names.SERVER), {})


def _started(pod: Mapping[str, Any]) -> str:
    """Return since when the server runs; empty until it has started up."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if container["name"] == names.SERVER and container.get("started"):
            return str(((container.get("state") or {}).get("running") or {}).get("startedAt", ""))
    return ""
