from __future__ import annotations

from modelservice_operator.render.horizontal_pod_autoscaler import behavior
from modelservice_operator.render.scaled_object import prometheus_trigger, scaled_object
from modelservice_operator.scaling import Policy

POLICY = Policy(target=7.7, min_replicas=2, max_replicas=8, scale_down_delay=600)


def test_a_scaled_object_in_full() -> None:
    trigger = prometheus_trigger("http://prometheus:9090", "sum(x)", POLICY.target)
    assert scaled_object("ml", "m", POLICY, POLICY.bounds(0), trigger) == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
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
            "pollingInterval": 15,
            "initialCooldownPeriod": 600,
            "cooldownPeriod": 600,
            "minReplicaCount": 2,
            "maxReplicaCount": 8,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(POLICY)}},
            "triggers": [
                {
                    "type": "prometheus",
                    "metricType": "AverageValue",
                    "metadata": {
                        "serverAddress": "http://prometheus:9090",
                        "query": "sum(x)",
                        "threshold": "7.7",
                        "ignoreNullValues": "false",
                    },
                }
            ],
            "fallback": {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicas"},
        },
    }


def test_a_prometheus_that_wants_to_see_a_token_gets_that_of_the_clusters_authentication() -> None:
    trigger = prometheus_trigger("https://thanos:9091", "sum(x)", 3, "thanos")
    assert trigger["authenticationRef"] == {"kind": "ClusterTriggerAuthentication", "name": "thanos"}
    assert trigger["metadata"]["authModes"] == "bearer"


def test_a_service_that_may_go_to_zero_does_not_do_so_because_prometheus_is_silent() -> None:
    policy = Policy(target=1, min_replicas=0, max_replicas=3)
    body = scaled_object("ml", "m", policy, policy.bounds(0), prometheus_trigger("http://p", "sum(x)", 1))
    assert body["spec"]["minReplicaCount"] == 0
    assert body["spec"]["fallback"]["replicas"] > 0
