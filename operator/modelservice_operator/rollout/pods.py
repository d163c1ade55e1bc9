"""Reads pods and Deployments into workloads, and says why a pod does not serve in the words of who refused it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelservice_operator import names
from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.situation import Trouble, Workload

Body = Mapping[str, Any]

_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
# The kubelet alternates between two texts while it backs off; without its preamble they are one.
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: ErrImagePull: )?')
_LONGEST_WORDS = 400


def workload(deployment: Body | None, pods: Iterable[Body]) -> Workload:
    """Return what a revision's Deployment asked for and what became of it.

    A Deployment's status counts only as far as its controller has seen the spec: what was given up a moment ago is no
    longer available, and what was asked for is already occupied.
    """
    pods = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    troubles = sorted({found for pod in pods if (found := trouble(pod)) is not None}, key=lambda each: each.message)
    if deployment is None:
        return Workload(exists=False, pods=len(pods), troubles=tuple(troubles))
    wanted = deployment["spec"].get("replicas", 1)
    status = deployment.get("status") or {}
    refused = [_refused(condition) for condition in status.get("conditions") or () if _is_refusal(condition)]
    return Workload(
        wanted=wanted,
        pods=max(status.get("replicas", 0), len(pods)),
        ready=min(status.get("readyReplicas", 0), wanted),
        available=min(status.get("availableReplicas", 0), wanted),
        troubles=(*refused, *troubles),
    )


def found_digest(pods: Iterable[Body]) -> str | None:
    """Return the digest that a pod's fetch container reports, of the oldest pod that does."""
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["creationTimestamp"])):
        for container in _statuses(pod, "initContainerStatuses"):
            if container["name"] == names.FETCH:
                digest = _report(_ended(container)).get("digest")
                if isinstance(digest, str):
                    return digest
    return None


def unscheduled(pods: Iterable[Body]) -> str | None:
    """Return the scheduler's words about a pod that has no node, or None when all have one."""
    words = sorted(found for pod in pods if (found := _scheduler_says(pod)) is not None)
    return words[0] if words else None


def trouble(pod: Body) -> Trouble | None:
    """Return why a pod does not come up, or None while nothing speaks against it."""
    if (words := _scheduler_says(pod)) is not None:
        return Trouble(Reason.UNSCHEDULABLE, words)
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in _statuses(pod, kind):
            if (found := _container_trouble(container)) is not None:
                return found
    return None


def _container_trouble(container: Body) -> Trouble | None:
    name, state = container["name"], container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, words = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL_REASONS:
        words = _BACK_OFF.sub("", words) or "it cannot be pulled"
        return Trouble(Reason.IMAGE_PULL_FAILED, f'Image "{container["image"]}" of container {name}: {words}')
    if reason in _CONFIG_REASONS:
        return Trouble(Reason.CONFIG_MISSING, f"Container {name} cannot be created: {words}")
    if reason == "CrashLoopBackOff" or "terminated" in state:
        return _exit_trouble(container, _ended(container))
    if container.get("ready") or container.get("started"):
        return None
    # Started again after a failure and not up yet: still the same trouble, or the status would flap with each try.
    return _exit_trouble(container, _ended(container)) if container.get("restartCount") else None


def _exit_trouble(container: Body, ended: Body) -> Trouble | None:
    if not ended or ended.get("exitCode") == 0:
        return None
    name, report = container["name"], _report(ended)
    if isinstance(report.get("message"), str):
        default = Reason.FETCH_FAILED if name == names.FETCH else Reason.LOAD_FAILED
        is_mismatch = report.get("reason") == Reason.DIGEST_MISMATCH
        return Trouble(Reason.DIGEST_MISMATCH if is_mismatch else default, report["message"])
    why = ended.get("reason", "Error")
    last_words = " ".join(str(ended.get("message", "")).split())[-_LONGEST_WORDS:]
    sentence = f"Container {name} exits with code {ended.get('exitCode')} ({why})"
    reason = Reason.FETCH_FAILED if name == names.FETCH else Reason.CRASH_LOOP
    return Trouble(reason, f"{sentence}: {last_words}" if last_words else f"{sentence}.")


def _scheduler_says(pod: Body) -> str | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason") or "The scheduler gives no reason.")
    return None


def _is_refusal(condition: Body) -> bool:
    return bool(condition["type"] == "ReplicaFailure" and condition["status"] == "True")


def _refused(condition: Body) -> Trouble:
    """Quotas and admission policies refuse pods; the Deployment has their words."""
    return Trouble(Reason.WAITING_FOR_CAPACITY, str(condition.get("message", "")))


def _statuses(pod: Body, kind: str) -> list[Body]:
    return (pod.get("status") or {}).get(kind) or []


def _ended(container: Body) -> Body:
    """Return how the container ended, this time or the last."""
    for state in (container.get("state"), container.get("lastState")):
        if state and "terminated" in state:
            ended: Body = state["terminated"]
            return ended
    return {}


def _report(ended: Body) -> Body:
    """Return what our own containers leave as their last words: one JSON object, or nothing."""
    try:
        report = json.loads(ended.get("message", ""))
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
