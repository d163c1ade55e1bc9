"""The ScaledObject of a service of engine KEDA: what KEDA asks Prometheus, and what holds where that is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modelservice_operator.render.children import child_metadata
from modelservice_operator.render.horizontal_pod_autoscaler import behavior, scale_target

if TYPE_CHECKING:
    from modelservice_operator.scaling import Policy
    from modelservice_operator.scaling.policy import Bounds

Body = dict[str, Any]

_POLLING_SECONDS: Final = 15
_FAILURES: Final = 3


def scaled_object(namespace: str, service: str, policy: Policy, bounds: Bounds, trigger: Body) -> Body:
    """Return it with `bounds` that are in force now; no schedule of KEDA's own could tell the most replicas.

    Where there is no metric the number of replicas stays: KEDA tells its HPA a metric that asks for just these. With
    any other `replicas` than 0 in the fallback, it does not take a silent Prometheus for a service without requests.
    """
    delay = int(policy.scale_down_delay)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": child_metadata(namespace, service, service, {}),
        "spec": {
            "scaleTargetRef": scale_target(service),
            "pollingInterval": _POLLING_SECONDS,
            "initialCooldownPeriod": delay,
            "cooldownPeriod": delay,
            "minReplicaCount": bounds.min_replicas,
            "maxReplicaCount": bounds.max_replicas,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(policy)}},
            "triggers": [trigger],
            "fallback": {
                "failureThreshold": _FAILURES,
                "replicas": max(1, bounds.min_replicas),
                "behavior": "currentReplicas",
            },
        },
    }


def prometheus_trigger(address: str, query: str, target: float, authentication: str = "") -> Body:
    """Return the trigger for a query that gives one number or none; `authentication` names a cluster's object of KEDA.

    None is an error then, not 0: Prometheus has lost the pods.
    """
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": address,
            "query": query,
            "threshold": f"{target:g}",
            "ignoreNullValues": "false",
            **({"authModes": "bearer"} if authentication else {}),
        },
        **(
            {"authenticationRef": {"kind": "ClusterTriggerAuthentication", "name": authentication}}
            if authentication
            else {}
        ),
    }
