from __future__ import annotations

from typing import Any

from modelservice_operator.render import children
from modelservice_operator.render.service_monitor import service_monitor
from unit.operator.makers import parsed

Body = dict[str, Any]


def test_a_service_monitor_in_full() -> None:
    assert service_monitor("ml", "m", parsed(), {"release": "prometheus"}) == {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {
            "name": "m-metrics",
            "namespace": "ml",
            "labels": {
                "release": "prometheus",
                "modelservice.dev/name": "m",
                "app.kubernetes.io/managed-by": "modelservice-operator",
                "app.kubernetes.io/part-of": "modelservice",
            },
        },
        "spec": {
            "jobLabel": "modelservice.dev/name",
            "endpoints": [
                {
                    "port": "metrics",
                    "path": "/metrics",
                    "relabelings": [
                        {"action": "drop", "sourceLabels": ["__meta_kubernetes_pod_phase"], "regex": "Pending"},
                        {
                            "action": "replace",
                            "sourceLabels": ["__meta_kubernetes_service_label_modelservice_dev_name"],
                            "targetLabel": "modelservice",
                        },
                        {
                            "action": "replace",
                            "sourceLabels": ["__meta_kubernetes_pod_label_modelservice_dev_revision"],
                            "targetLabel": "revision",
                        },
                    ],
                },
            ],
            "selector": {
                "matchLabels": {"modelservice.dev/name": "m", "app.kubernetes.io/component": "metrics"},
            },
        },
    }


def test_it_selects_the_service_of_the_metrics_and_no_other() -> None:
    monitor = service_monitor("ml", "m", parsed(), {})
    assert monitor is not None
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    scraped = children.metrics_service("ml", "m", parsed())
    assert wanted <= scraped["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == scraped["spec"]["ports"][0]["name"]
    assert not wanted <= children.service("ml", "m", parsed(), 8080, ("m-1",))["metadata"]["labels"].items()


def test_the_administrators_labels_never_replace_ours() -> None:
    monitor = service_monitor("ml", "m", parsed(), {"modelservice.dev/name": "other"})
    assert monitor is not None
    assert monitor["metadata"]["labels"]["modelservice.dev/name"] == "m"


def test_a_custom_server_is_scraped_where_it_says_and_not_at_all_where_it_says_nothing() -> None:
    custom = {"name": "Custom", "image": "x", "metricsPath": "/prometheus", "metricsPort": 81}
    monitor = service_monitor("ml", "m", parsed(runtime=custom), {})
    assert monitor is not None
    assert monitor["spec"]["endpoints"][0]["path"] == "/prometheus"
    assert service_monitor("ml", "m", parsed(runtime={"name": "Custom", "image": "x"}), {}) is None


def test_what_promises_something_is_scraped_often_enough_for_its_alerts() -> None:
    slo = {"objectives": [{"name": "availability", "target": "99.9%"}]}
    monitor = service_monitor("ml", "m", parsed(slo=slo), {})
    assert monitor is not None
    assert monitor["spec"]["endpoints"][0]["interval"] == "15s"
