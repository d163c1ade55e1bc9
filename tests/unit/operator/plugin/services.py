"""A ModelService in the middle of a rollout, as the API server has it, and its pods."""

from __future__ import annotations

from typing import Any

from modelservice_operator import names

Body = dict[str, Any]

DIGEST = "sha256:" + "1" * 64
STABLE, CANDIDATE, FAILED = "digits-stable0000", "digits-next000000", "digits-failed0000"


def condition(kind: str, status: str, reason: str, message: str) -> Body:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 4}


def revision(name: str, role: str, ready: int, replicas: int, weight: str) -> Body:
    model = f"s3://models/{name}@{DIGEST}"
    return {"name": name, "role": role, "model": model, "replicas": replicas, "ready": ready, "weight": weight}


def decided(name: str, decision: str, **more: object) -> Body:
    return {"revision": name, "decision": decision, "decidedTime": "2026-11-27T09:00:00Z", **more}


READY = condition("Ready", "True", "Ready", f"Revision {STABLE} serves.")
ROLLING = condition("Ready", "False", "RollingOut", "Waiting for the next pod.")
AVAILABLE = condition("Available", "True", "Serving", "At least one pod that carries traffic is ready.")
STALLED = condition("Stalled", "True", "GateFailed", "f1 is 0.71, and 0.90 is the least.")

SERVES = revision(STABLE, "Stable", 3, 3, "100%")
COMES = revision(CANDIDATE, "Candidate", 1, 2, "25%")

ROLLOUT: Body = {
    "phase": "Analysing",
    "revision": CANDIDATE,
    "step": 1,
    "weight": "25%",
    "message": "31 of 100 requests seen.",
    "gates": [
        {"name": "f1", "verdict": "Passed", "value": "0.914", "limit": "0.90"},
        {"name": "latency_p95", "verdict": "Pending", "limit": "50ms"},
    ],
}
REFUSED = decided(
    FAILED, "Failed", reason="GateFailed", message="f1 is 0.71, and 0.90 is the least.", measured={"f1": "0.71"}
)
PROMOTED = decided(STABLE, "Promoted", measured={"f1": "0.902", "latency_p95": "41ms"})


def service(
    *, generation: int = 4, paused: bool = False, annotations: Body | None = None, status: Body | None = None
) -> Body:
    return {
        "metadata": {"name": "digits", "namespace": "ml", "generation": generation, "annotations": annotations or {}},
        "spec": {"rollout": {"paused": paused}},
        "status": {"observedGeneration": 4} | (status or {}),
    }


ROLLING_OUT = service(
    status={
        "conditions": [ROLLING, AVAILABLE],
        "url": "http://digits.ml.svc:8080",
        "revisions": [SERVES | {"weight": "75%"}, COMES],
        "rollout": ROLLOUT,
        "slo": [
            {"name": "availability", "target": "99.9%", "budgetRemaining": "83%", "burnRate": "0.4"},
            {"name": "latency", "target": "99%"},
        ],
        "history": [REFUSED, PROMOTED],
    }
)
SETTLED = service(status={"conditions": [READY, AVAILABLE], "revisions": [SERVES]})
UNSEEN = {key: value for key, value in service().items() if key != "status"}


def pod(of: str, name: str, *containers: Body, node: str = "node-1", fetch: Body | None = None, **more: Body) -> Body:
    status = {"phase": "Pending", "initContainerStatuses": [fetch] if fetch else [], "containerStatuses": [*containers]}
    return {
        "metadata": {"name": f"{of}-{name}", "labels": {names.REVISION: of}},
        "spec": {"nodeName": node} if node else {},
        "status": status | more,
    }


def container(name: str, restarts: int = 0, **state: Body) -> Body:
    return {"name": name, "restartCount": restarts, "state": state}


FETCHED = container("fetch", terminated={"exitCode": 0, "reason": "Completed"})
UP: Body = {"conditions": [{"type": "Ready", "status": "True"}]}
