"""The children of a ModelService, one function each: values in, manifest out.

Owner references and the annotation by which an apply is skipped are the applier's; it adds them to every child alike.
Values are written as the API server stores them, and always the same set of fields, so that nothing ever flaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.render.pod import metrics_path, metrics_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.api.types import ModelServiceSpec
    from modelservice_operator.rollout.situation import Entry

Body = dict[str, Any]

MIN_READY_SECONDS = 5


def controller_revision(namespace: str, service: str, entry: Entry, decided: Body) -> Body:
    """Return a line of the ledger; `decided` are the annotations that hold its verdict."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": child_metadata(namespace, service, entry.name, {names.REVISION: entry.name}, decided),
        "data": {"spec": entry.spec, "template": entry.template},
        "revision": entry.sequence,
    }


def pin(namespace: str, service: str, revision: str, digest: str) -> Body:
    """Return the ConfigMap that holds later fetches of a revision to what the first one found; nobody can edit it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(namespace, service, revision, {names.REVISION: revision}),
        "data": {"digest": digest},
        "immutable": True,
    }


def deployment(namespace: str, service: str, entry: Entry, replicas: int, promised: int) -> Body:
    """Return the Deployment of a revision, with exactly the template that the ledger holds."""
    labels = {names.NAME: service, names.REVISION: entry.name}
    notes = {names.PROMISED: str(promised)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(namespace, service, entry.name, {names.REVISION: entry.name}, notes),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": entry.template,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _strategy(entry)},
            "minReadySeconds": MIN_READY_SECONDS,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 600,
        },
    }


def service(
    namespace: str,
    name: str,
    spec: ModelServiceSpec,
    port: int,
    traffic: tuple[str, ...],
    *,
    https: bool = False,
    port_name: str = names.HTTP_PORT,
) -> Body:
    """Return the Service that carries requests to the revisions in `traffic`: none, one, or exactly two."""
    named = {"name": port_name} if port_name else {}
    protocol = {"appProtocol": "https"} if https else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(namespace, name, name, {}, spec.service.annotations),
        "spec": {
            "type": spec.service.type.value,
            "selector": traffic_selector(name, traffic),
            "ports": [{**named, "port": port, "targetPort": names.HTTP_PORT, "protocol": "TCP", **protocol}],
        },
    }


def metrics_service(namespace: str, service: str, spec: ModelServiceSpec, *, annotated: bool = True) -> Body:
    """Return the headless Service over all pods, ready or not, which is the one place that is scraped.

    `annotated` has it say so to collectors that go by the prometheus.io annotations.
    """
    port, path = metrics_port(spec), metrics_path(spec)
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/path": path, "prometheus.io/port": str(port)}
    labels = {names.COMPONENT: names.METRICS_COMPONENT}
    notes = scraped if path and annotated else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(namespace, service, names.metrics_service(service), labels, notes),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.NAME: service},
            "ports": [{"name": names.METRICS_PORT, "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }


def traffic_selector(service: str, traffic: tuple[str, ...]) -> dict[str, str]:
    """Return the labels of the pods that carry traffic: those of two revisions, of one, or of none."""
    own = {names.NAME: service}
    match traffic:
        case ():
            return own | {names.REVISION: names.NO_REVISION}
        case (revision,):
            return own | {names.REVISION: revision}
        case _:
            return own


def child_metadata(
    namespace: str, service: str, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> Body:
    """Return the metadata that children of every kind share."""
    return {
        "name": name,
        "namespace": namespace,
        "labels": dict(labels) | names.service_labels(service),
        **({"annotations": dict(annotations)} if annotations else {}),
    }


def _strategy(entry: Entry) -> Body:
    """Matters for drift alone, as each revision has its own Deployment: no pod waits for a device that is in use."""
    has_devices = any(
        "/" in resource
        for container in entry.template["spec"]["containers"]
        for resource in (container.get("resources") or {}).get("limits") or {}
    )
    return {"maxSurge": 0, "maxUnavailable": 1} if has_devices else {"maxSurge": 1, "maxUnavailable": 0}
