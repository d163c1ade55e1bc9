"""The PodDisruptionBudget: how many of the pods that serve whoever empties a node must leave."""

from __future__ import annotations

from typing import Any

from modelservice_operator.render.children import child_metadata, traffic_selector

Body = dict[str, Any]


def disruption_budget(namespace: str, service: str, replicas: int, traffic: tuple[str, ...]) -> Body:
    """Return it for the revisions in `traffic`, of which `replicas` pods are promised: one may be missing.

    It counts what is promised, not what the Deployments ask for: they ask for one more during a roll, and a roll that
    is stuck with that one must hold up nobody who empties a node. Nor must a pod that does not serve, or the only one.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(namespace, service, service, {}),
        "spec": {
            "minAvailable": max(replicas - 1, 0),
            "selector": {"matchLabels": traffic_selector(service, traffic)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
