"""What a namespace holds once everything has settled, without what differs from run to run."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.admin import Admin

Body = dict[str, Any]
State = dict[str, Any]
"""By kind and name, what is left of each object."""

# Where the label's children live. An optional child gets a line here, and steps of life in life.py.
_CHILDREN = {
    "ControllerRevision": "/apis/apps/v1/controllerrevisions",
    "ConfigMap": "/api/v1/configmaps",
    "Deployment": "/apis/apps/v1/deployments",
    "Service": "/api/v1/services",
    "PodDisruptionBudget": "/apis/policy/v1/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "Job": "/apis/batch/v1/jobs",
    "Pod": "/api/v1/pods",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/servicemonitors",
    "PrometheusRule": "/apis/monitoring.coreos.com/v1/prometheusrules",
}
_SERVICES = "/apis/modelservice.dev/v1alpha1/modelservices"
_LABELLED = "?labelSelector=modelservice.dev%2Fname"
_PASSING = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "annotations"}
_PASSING_NOTES = {
    "modelservice.dev/applied-hash",  # holds the owner's uid
    "modelservice.dev/decided-time",
    "modelservice.dev/step-time",
    "deployment.kubernetes.io/revision",
}
_REQUESTS = re.compile(r'(requests\\*": \\*"|% of )\d+')  # how many were answered by then
_NODES = re.compile(r"0/\d+ nodes are available: [^\"]*")  # as many as there are lives
_COUNTS = ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")


async def states(admin: Admin) -> dict[str, State]:
    """Return the state of every namespace that has a ModelService or children of one."""
    found: dict[str, State] = defaultdict(dict)
    for body in await admin.items(_SERVICES):
        found[body["metadata"]["namespace"]][f"ModelService {body['metadata']['name']}"] = _service(body)
    for kind, path in _CHILDREN.items():
        for body in await admin.items(path + _LABELLED):
            namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
            if kind == "Pod":
                revision = body["metadata"]["labels"]["modelservice.dev/revision"]
                state = "going" if "deletionTimestamp" in body["metadata"] else "there"
                pods = f"pods of {revision} {state}"
                found[namespace][pods] = found[namespace].get(pods, 0) + 1
            else:
                found[namespace][f"{kind} {name}"] = _child(kind, body)
    # An address in the status names the namespace.
    texts = {name: json.dumps(state).replace(name, "NAMESPACE") for name, state in found.items()}
    return {name: json.loads(_NODES.sub("no node", _REQUESTS.sub(r"\1MANY", text))) for name, text in texts.items()}


def is_settled(state: State) -> bool:
    """Tell whether every ModelService of a namespace says that its latest spec is in force, or why it cannot be."""
    services = [body for name, body in state.items() if name.startswith("ModelService ")]
    return bool(services) and all(_has_settled(body) for body in services)


def says(reason: str, words: str = "") -> Callable[[State], bool]:
    """Tell of a namespace whether every ModelService gives this reason for whether its latest spec is in force."""

    def is_told(state: State) -> bool:
        services = [body for name, body in state.items() if name.startswith("ModelService ")]
        told = [_ready(body) for body in services]
        return bool(told) and all(each.get("reason") == reason and words in each["message"] for each in told)

    return is_told


def statuses(state: State) -> list[Body]:
    """Return what the ModelServices of a namespace say of themselves."""
    return [body.get("status", {}) for name, body in state.items() if name.startswith("ModelService ")]


def differences(state: State, expected: State) -> list[str]:
    """Say what differs, field by field."""
    lines = []
    for name in sorted({*state, *expected}):
        if state.get(name) != expected.get(name):
            lines += _differences(state.get(name), expected.get(name), name)
    return lines


def _differences(found: object, expected: object, path: str) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted({*found, *expected}):
            if found.get(name) != expected.get(name):
                yield from _differences(found.get(name), expected.get(name), f"{path}.{name}")
    else:
        yield f"{path}: {json.dumps(found)} instead of {json.dumps(expected)}"


def _has_settled(body: Body) -> bool:
    status = body.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    current = status.get("observedGeneration") == body["metadata"]["generation"]
    settled = conditions.get("Ready", {}).get("status") == "True" or "Stalled" in conditions
    return current and settled and "rollout" not in status


def _ready(body: Body) -> Body:
    """Return the condition Ready of a ModelService; empty as long as it does not speak of its latest spec."""
    status = body.get("status") or {}
    conditions: dict[str, Body] = {each["type"]: each for each in status.get("conditions") or ()}
    is_current = status.get("observedGeneration") == body["metadata"]["generation"]
    return conditions["Ready"] if is_current else {}


def _service(body: Body) -> Body:
    kept = _child("ModelService", body)
    kept["metadata"]["generation"] = body["metadata"]["generation"]
    for condition in (kept.get("status") or {}).get("conditions") or ():
        del condition["lastTransitionTime"]
    decisions = (kept.get("status") or {}).get("history") or []
    for decision in decisions:
        del decision["decidedTime"]
    decisions.sort(key=json.dumps)  # what was decided in one second has no order
    return kept


def _child(kind: str, body: Body) -> Body:
    metadata = {name: value for name, value in body["metadata"].items() if name not in _PASSING}
    notes = body["metadata"].get("annotations") or {}
    metadata["annotations"] = {name: value for name, value in notes.items() if name not in _PASSING_NOTES}
    for owner in metadata.get("ownerReferences") or ():
        owner["uid"] = ""
    kept = body | {"metadata": metadata}
    if kind == "Deployment":
        kept["status"] = {name: body.get("status", {}).get(name, 0) for name in _COUNTS}
    if kind == "Job":
        return {"metadata": metadata}  # the rest names its own UID
    if kind in {"PodDisruptionBudget", "HorizontalPodAutoscaler"}:
        kept.pop("status")  # what its controller sees, at its own pace
    if kind == "Service":
        given = {"clusterIP", "clusterIPs", "healthCheckNodePort"}
        kept["spec"] = {name: value for name, value in body["spec"].items() if name not in given}
        kept["spec"]["ports"] = [port | {"nodePort": "nodePort" in port} for port in kept["spec"]["ports"]]
    return kept
