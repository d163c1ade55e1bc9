"""The ServiceMonitor, by which a Prometheus of the Prometheus Operator finds the Service of the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.render.children import child_metadata
from modelservice_operator.render.pod import metrics_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.api.types import ModelServiceSpec

Body = dict[str, Any]

_META = "__meta_kubernetes"


def service_monitor(namespace: str, service: str, spec: ModelServiceSpec, labels: Mapping[str, str]) -> Body | None:
    """Return it with `labels`, by which a Prometheus selects it; None for a server that has no metrics.

    Its lists have no keys, so they are written in full, defaults included.
    """
    if not metrics_path(spec):
        return None
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": child_metadata(namespace, service, names.metrics_service(service), labels),
        "spec": {
            "jobLabel": names.NAME,
            "endpoints": [
                {
                    "port": names.METRICS_PORT,
                    "path": metrics_path(spec),
                    # Pages about objectives come within minutes only where the news does.
                    **({"interval": "15s"} if spec.slo else {}),
                    "relabelings": _relabelings(),
                },
            ],
            "selector": {"matchLabels": {names.NAME: service, names.COMPONENT: names.METRICS_COMPONENT}},
        },
    }


def _relabelings() -> list[Body]:
    """Name the service and the revision on every series, and leave out pods that still fetch their model.

    Nobody answers in such a pod, and a target that is down for as long as a large model takes to arrive raises alarms.
    """
    return [
        {"action": "drop", "sourceLabels": [f"{_META}_pod_phase"], "regex": "Pending"},
        _named("modelservice", f"{_META}_service_label_{_sanitized(names.NAME)}"),
        _named("revision", f"{_META}_pod_label_{_sanitized(names.REVISION)}"),
    ]


def _named(label: str, source: str) -> Body:
    return {"action": "replace", "sourceLabels": [source], "targetLabel": label}


def _sanitized(label: str) -> str:
    """Return a Kubernetes label as Prometheus writes it in the name of one of its own."""
    return "".join(letter if letter.isalnum() else "_" for letter in label)
