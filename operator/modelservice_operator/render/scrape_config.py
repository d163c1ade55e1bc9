"""What a ServiceMonitor says, for a Prometheus that nobody configures from within the cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from modelservice_operator import names

if TYPE_CHECKING:
    from collections.abc import Mapping

Body = dict[str, Any]

_META = "__meta_kubernetes"
# The labels that the Prometheus Operator gives to every series, and which dashboards and rules go by.
_USUAL = {
    "job": f"{_META}_service_label_modelservice_dev_name",
    "namespace": f"{_META}_namespace",
    "service": f"{_META}_service_name",
    "pod": f"{_META}_pod_name",
    "container": f"{_META}_pod_container_name",
    "endpoint": f"{_META}_endpointslice_port_name",
}


def scrape_config(monitor: Mapping[str, Any]) -> Body:
    """Return the scrape job that finds and labels what one of our ServiceMonitors does."""
    metadata, spec = monitor["metadata"], monitor["spec"]
    [endpoint] = spec["endpoints"]
    selector = ",".join(f"{label}={value}" for label, value in spec["selector"]["matchLabels"].items())
    return {
        "job_name": f"{metadata['namespace']}/{metadata['name']}",
        **({"scrape_interval": endpoint["interval"]} if "interval" in endpoint else {}),
        "metrics_path": endpoint["path"],
        "kubernetes_sd_configs": [
            {
                "role": "endpointslice",
                "namespaces": {"names": [metadata["namespace"]]},
                "selectors": [
                    {"role": "endpointslice", "label": selector},
                    {"role": "service", "label": selector},
                    {"role": "pod", "label": f"{names.NAME}={spec['selector']['matchLabels'][names.NAME]}"},
                ],
            }
        ],
        "relabel_configs": [
            {"action": "keep", "source_labels": [_USUAL["endpoint"]], "regex": endpoint["port"]},
            *({"source_labels": [source], "target_label": label} for label, source in _USUAL.items()),
            *({_snake(field): value for field, value in each.items()} for each in endpoint["relabelings"]),
        ],
    }


def _snake(field: str) -> str:
    """Write a field of the Prometheus Operator as Prometheus does."""
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", field)
