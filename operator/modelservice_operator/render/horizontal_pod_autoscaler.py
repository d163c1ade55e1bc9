"""The HorizontalPodAutoscaler of a service of engine HPA: the cluster's own autoscaler, on the service's `/scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from modelservice_operator.api import API_VERSION, KIND
from modelservice_operator.render.children import child_metadata

if TYPE_CHECKING:
    from modelservice_operator.scaling import Policy
    from modelservice_operator.scaling.policy import Bounds

Body = dict[str, Any]

_LONGEST_SECONDS: Final = 3600  # of what the API takes


def horizontal_pod_autoscaler(namespace: str, service: str, policy: Policy, bounds: Bounds, metric: Body) -> Body:
    """Return it with `bounds` that are in force now. Its lists have no keys, so all is written, defaults included."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": child_metadata(namespace, service, service, {}),
        "spec": {
            "scaleTargetRef": scale_target(service),
            "minReplicas": bounds.min_replicas,
            "maxReplicas": bounds.max_replicas,
            "metrics": [metric],
            "behavior": behavior(policy),
        },
    }


def scale_target(service: str) -> Body:
    """Return the service itself, whose `/scale` stays the same whatever is rolled out."""
    return {"apiVersion": API_VERSION, "kind": KIND, "name": service}


def behavior(policy: Policy) -> Body:
    """Return how fast: up at once and by as much again, down as engine Builtin does it."""
    delay, period = int(policy.scale_down_delay), int(policy.scale_down_period)
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 4, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": min(delay, _LONGEST_SECONDS),
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": round(100 * policy.scale_down_step), "periodSeconds": period},
                {"type": "Pods", "value": 1, "periodSeconds": period},
            ],
        },
    }


def pods_metric(gauge: str, target: float) -> Body:
    """Return the mean over the pods of a gauge that each of them has."""
    return {"type": "Pods", "pods": {"metric": {"name": gauge}, "target": _average(target)}}


def external_metric(name: str, service: str, target: float) -> Body:
    """Return a number that somebody else has for the service, divided by its replicas."""
    selector = {"matchLabels": {"modelservice": service}}
    metric = {"name": name, "selector": selector}
    return {"type": "External", "external": {"metric": metric, "target": _average(target)}}


def _average(target: float) -> Body:
    """Write a number as the API server stores it: whole, else in thousandths."""
    thousandths = max(1, round(1000 * target))
    whole, rest = divmod(thousandths, 1000)
    return {"type": "AverageValue", "averageValue": f"{thousandths}m" if rest else str(whole)}
