"""Small makers of what the operator reads, each with defaults: say in a test only what the test is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelservice_operator import config, names
from modelservice_operator.api import ModelServiceSpec, parse
from modelservice_operator.observe import Children
from modelservice_operator.render import children as render
from modelservice_operator.rollout import revision
from modelservice_operator.rollout.situation import Entry, Verdict

Body = dict[str, Any]

DIGEST = "sha256:" + "1" * 64
CONFIG = config.parse(
    {
        "images": {"server": "example/server:1"},
        "accelerators": {
            "nvidia-l4": {
                "resource": "nvidia.com/gpu",
                "nodeSelector": {"gpu": "l4"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "runtimeClassName": "nvidia",
            },
            "big-cpu": {"nodeSelector": {"cpu": "big"}},
        },
        "trustedKeys": {"team-a": "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"},
    },
    source="the test",
)
TEMPLATE: Body = {"spec": {"initContainers": [{"name": "fetch"}], "containers": [{"name": "server"}]}}


def service(name: str = "m", *, status: Body | None = None, annotations: Body | None = None, **spec: object) -> Body:
    """A ModelService as the API server has it."""
    return {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": "ml", "generation": 3, "annotations": annotations or {}},
        "spec": {"model": {"uri": "pvc://models/m"}} | spec,
        "status": status or {"observedGeneration": -1},
    }


def parsed(**spec: object) -> ModelServiceSpec:
    return parse(service(**spec))


def revision_of(restart: str = "", **spec: object) -> str:
    """The name of the revision that a spec describes."""
    return revision.revision_name("m", revision.shape(parsed(**spec), restart))


def entry(name: str = "m-1", sequence: int = 1, **more: Any) -> Entry:  # noqa: ANN401 - any of its fields
    return replace(Entry(name, sequence, template=TEMPLATE), **more)


def promoted(name: str = "m-1", promotion: int = 1, **more: Any) -> Entry:  # noqa: ANN401 - any of its fields
    return entry(name, promotion, promotion=promotion, verdict=Verdict.PROMOTED, **more)


def live(manifest: Body, **status: object) -> Body:
    """A manifest as the API server gives it back."""
    metadata = {"resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"} | manifest["metadata"]
    return manifest | {"metadata": metadata, "status": status}


def line(of: Entry) -> Body:
    """A ledger's line in the API server."""
    notes = {
        names.VERDICT: of.verdict.value,
        names.PROMOTION: str(of.promotion),
        names.DECIDED_TIME: of.decided_time,
    }
    return live(render.controller_revision("ml", "m", of, notes))


def deployment(
    of: str = "m-1", replicas: int = 1, *, ready: int | None = None, promised: int | None = None, **status: object
) -> Body:
    """A Deployment whose pods are up, or as many of them as `ready` says."""
    up = replicas if ready is None else ready
    manifest = render.deployment("ml", "m", entry(of), replicas, replicas if promised is None else promised)
    return live(manifest, **{"replicas": replicas, "readyReplicas": up, "availableReplicas": up} | status)


def pod(of: str = "m-1", name: str = "m-1-x", *, phase: str = "Running", **status: object) -> Body:
    """A pod that a ReplicaSet controls; `status` are the fields of its status."""
    return {
        "metadata": {
            "name": name,
            "labels": {names.NAME: "m", names.REVISION: of},
            "creationTimestamp": "2026-01-01T00:00:01Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": of, "controller": True}],
        },
        "status": {"phase": phase} | status,
    }


def container(
    name: str = "server", *, restarts: int = 0, up: bool = False, last: Body | None = None, **state: Body
) -> Body:
    """A container's status: `waiting=`, `running=` or `terminated=` is its state, `last` how it ended before."""
    return {
        "name": name,
        "image": "example/server:1",
        "restartCount": restarts,
        "ready": up,
        "started": up,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def traffic_service(*traffic: str, port: int = 8080, https: bool = False) -> Body:
    return live(render.service("ml", "m", parsed(), port, traffic, https=https))


def children(*bodies: Body, pods: tuple[Body, ...] = ()) -> Children:
    """What a ModelService has, sorted by kind."""
    of_kind: dict[str, dict[str, Body]] = {}
    for body in bodies:
        of_kind.setdefault(body["kind"], {})[body["metadata"]["name"]] = body
    return Children(
        revisions=of_kind.get("ControllerRevision", {}),
        pins=of_kind.get("ConfigMap", {}),
        deployments=of_kind.get("Deployment", {}),
        services=of_kind.get("Service", {}),
        budgets=of_kind.get("PodDisruptionBudget", {}),
        policies=of_kind.get("NetworkPolicy", {}),
        service_monitors=of_kind.get("ServiceMonitor", {}),
        prometheus_rules=of_kind.get("PrometheusRule", {}),
        alertmanager_configs=of_kind.get("AlertmanagerConfig", {}),
        autoscalers=of_kind.get("HorizontalPodAutoscaler", {}),
        scaled_objects=of_kind.get("ScaledObject", {}),
        jobs=of_kind.get("Job", {}),
        pods={each["metadata"]["name"]: each for each in pods},
    )
