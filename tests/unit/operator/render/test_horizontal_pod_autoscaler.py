from __future__ import annotations

import pytest

from modelservice_operator.render.horizontal_pod_autoscaler import (
    external_metric,
    horizontal_pod_autoscaler,
    pods_metric,
)
from modelservice_operator.scaling import Policy

POLICY = Policy(target=11, min_replicas=2, max_replicas=8, scale_down_delay=600)


def test_a_horizontal_pod_autoscaler_in_full() -> None:
    metric = pods_metric("model_server_inflight_requests", POLICY.target)
    assert horizontal_pod_autoscaler("ml", "m", POLICY, POLICY.bounds(0), metric) == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "m",
            "namespace": "ml",
            "labels": {
                "modelservice.dev/name": "m",
                "app.kubernetes.io/managed-by": "modelservice-operator",
                "app.kubernetes.io/part-of": "modelservice",
            },
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "name": "m"},
            "minReplicas": 2,
            "maxReplicas": 8,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "model_server_inflight_requests"},
                        "target": {"type": "AverageValue", "averageValue": "11"},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                    ],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Percent", "value": 25, "periodSeconds": 30},
                        {"type": "Pods", "value": 1, "periodSeconds": 30},
                    ],
                },
            },
        },
    }


def test_a_delay_that_is_longer_than_the_api_takes_is_the_longest_that_it_takes() -> None:
    policy = Policy(target=1, scale_down_delay=7200)
    body = horizontal_pod_autoscaler("ml", "m", policy, policy.bounds(0), pods_metric("g", 1))
    assert body["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 3600


@pytest.mark.parametrize(("target", "stored"), [(7.7, "7700m"), (8.0, "8"), (0.0001, "1m"), (0.33333, "333m")])
def test_the_target_is_written_as_the_api_server_stores_it(target: float, stored: str) -> None:
    assert pods_metric("g", target)["pods"]["target"]["averageValue"] == stored


def test_an_external_metric_is_that_of_the_service() -> None:
    assert external_metric("inflight", "m", 3)["external"] == {
        "metric": {"name": "inflight", "selector": {"matchLabels": {"modelservice": "m"}}},
        "target": {"type": "AverageValue", "averageValue": "3"},
    }
