"""Reads pods and Deployments into workloads, and says why a pod does not serve in the words of who refused it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from modelservice_operator import names
from modelservice_operator.api.quantity import Quantity
from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.situation import Trouble, Workload

Body = Mapping[str, Any]

_PULL_REASONS = {
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_START_REASONS = {"CreateContainerError", "RunContainerError"}  # while it is tried
_START_FAILURES = {"ContainerCannotRun", "StartError"}  # once it was
_REPORTED = {  # by our containers
    str(reason): reason for reason in (Reason.DIGEST_MISMATCH, Reason.NOT_TRUSTED, Reason.CONFIG_MISSING)
}
# The kubelet alternates between two texts while it backs off; without its preamble they are one.
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: [A-Z]\w+: )?')
# A refused pod has another name at each try.
_REFUSED_POD = re.compile(r'^pods "[^"]*" is forbidden: ')
_LONGEST_WORDS = 400


def workload(deployment: Body | None, pods: Iterable[Body]) -> Workload:
    """Return what a revision's Deployment asked for and what became of it.

    A Deployment's status counts only as far as its controller has seen the spec: what was given up a moment ago is no
    longer available, and what was asked for is already occupied.
    """
    seen = list(pods)
    pods = [pod for pod in seen if _is_alive(pod)]
    found = {each for pod in pods if (each := trouble(pod)) is not None}
    if deployment is None:
        return Workload(exists=False, pods=len(pods), troubles=_sorted(found))
    wanted = deployment["spec"].get("replicas", 1)
    found |= _evictions(seen) if wanted else set()
    status = deployment.get("status") or {}
    refusals = [condition for condition in status.get("conditions") or () if _is_refusal(condition)]
    found |= {refused(str(condition.get("message", ""))) for condition in refusals}
    return Workload(
        wanted=wanted,
        pods=max(status.get("replicas", 0), len(pods)),
        ready=min(status.get("readyReplicas", 0), wanted),
        available=min(status.get("availableReplicas", 0), wanted),
        troubles=_sorted(found),
        fetched=_fetched(deployment, pods),
        loads_since=_loads_since(pods),
        unplaced_since=min(
            [*_times(pods, "PodScheduled", "False"), *_times([deployment], "ReplicaFailure", "True")],
            default=None,
        ),
    )


def _loads_since(pods: Iterable[Body]) -> datetime | None:
    """Return since when a server has been at it and none is ready; its clock begins when the model is there."""
    if list(_times(pods, "Ready", "True")):
        return None
    return min(_times([pod for pod in pods if _has_begun(pod)], "Initialized", "True"), default=None)


def _has_begun(pod: Body) -> bool:
    """Tell whether the server was ever started: an image that cannot be pulled, or a missing Secret, is no failure."""
    return any(
        container["name"] == names.SERVER
        and (container.get("restartCount") or "running" in (container.get("state") or {}))
        for container in _statuses(pod, "containerStatuses")
    )


def _times(bodies: Iterable[Body], kind: str, status: str) -> Iterator[datetime]:
    """Return since when a condition is what it is."""
    for body in bodies:
        for condition in (body.get("status") or {}).get("conditions") or ():
            if (condition["type"], condition.get("status")) == (kind, status) and "lastTransitionTime" in condition:
                yield datetime.fromisoformat(condition["lastTransitionTime"])


def trouble(pod: Body) -> Trouble | None:
    """Return why a pod does not come up, or None while nothing speaks against it."""
    if (words := _scheduler_says(pod)) is not None:
        return Trouble(Reason.UNSCHEDULABLE, words)
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in _statuses(pod, kind):
            ends_well = kind == "initContainerStatuses"
            if (found := _container_trouble(container, ends_well=ends_well)) is not None:
                return found
    return _tight(pod)


def _tight(pod: Body) -> Trouble | None:
    """Warn of a model that is larger than the memory of the server which loads it, unless a device takes it."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    server: Body = next((each for each in containers if each["name"] == names.SERVER), {})
    limits = (server.get("resources") or {}).get("limits") or {}
    files = max((_report(_ended(each)).get("bytes", 0) for each in _statuses(pod, "initContainerStatuses")), default=0)
    is_up = any(each.get("ready") for each in _statuses(pod, "containerStatuses") if each["name"] == names.SERVER)
    if is_up or "memory" not in limits or any("/" in resource for resource in limits):
        return None
    if files <= Quantity.parse(limits["memory"]).value:
        return None
    message = (
        f"The files of the model have {files / 10**9:.3g} GB, more than the memory limit of container {names.SERVER} "
        f"({limits['memory']}); raise spec.resources.limits.memory"
    )
    return Trouble(Reason.MEMORY_TOO_SMALL, message)


def failing_container(pod: Body) -> tuple[str, bool] | None:
    """Name the container that keeps a pod from serving, else its server; None: neither has run.

    And tell whether it ran before it was started again, which has a log of its own.
    """
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in _statuses(pod, kind):
            ends_well = kind == "initContainerStatuses"
            if _ended(container) and _container_trouble(container, ends_well=ends_well) is not None:
                return container["name"], "terminated" not in (container.get("state") or {})
    return (names.SERVER, False) if _has_begun(pod) else None


def _is_alive(pod: Body) -> bool:
    """Tell whether a pod counts.

    One that is being deleted does not, nor one that has ended (evicted pods stay, to be looked at), nor one that was
    taken out of its ReplicaSet by its labels, as people do with a pod that they want to look at.
    """
    has_ended = (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}
    return _is_controlled(pod) and not has_ended and not pod["metadata"].get("deletionTimestamp")


def _evictions(pods: Iterable[Body]) -> set[Trouble]:
    """Tell of the last pod that its node has ended, until a later one is ready: the next one may fare no better."""
    own = sorted(filter(_is_controlled, pods), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    found: set[Trouble] = set()
    for pod in own:
        status = pod.get("status") or {}
        if status.get("phase") == "Failed" and status.get("reason") == "Evicted":
            found = {Trouble(Reason.EVICTED, "A pod was evicted by its node", str(status.get("message", "")).strip())}
        elif any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ()):
            found = set()
    return found


def _is_controlled(pod: Body) -> bool:
    return any(owner.get("controller") for owner in pod["metadata"].get("ownerReferences") or ())


def _sorted(troubles: Iterable[Trouble]) -> tuple[Trouble, ...]:
    """Put first what somebody must mend; waiting for capacity is no failure."""
    return tuple(sorted(troubles, key=lambda each: (each.waits_for_capacity, each.sentence)))


def _fetched(deployment: Body, pods: Iterable[Body]) -> str | None:
    """Return the digest that the first fetch found; empty if it did not say, None before a fetch has ended well."""
    since = deployment["metadata"]["creationTimestamp"]  # pods of an earlier Deployment of the name do not count
    own = [pod for pod in pods if pod["metadata"]["creationTimestamp"] >= since]
    for pod in sorted(own, key=lambda each: str(each["metadata"]["creationTimestamp"])):
        for container in _statuses(pod, "initContainerStatuses"):
            ended = _ended(container)
            if container["name"] == names.FETCH and ended.get("exitCode") == 0:
                return str(_report(ended).get("digest", ""))
    return None


def _container_trouble(container: Body, *, ends_well: bool) -> Trouble | None:
    name, state = container["name"], container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, words = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULL_REASONS:
        message = f'Image "{container["image"]}" of container {name} cannot be pulled'
        return Trouble(Reason.IMAGE_PULL_FAILED, message, _BACK_OFF.sub("", words))
    if reason == "CreateContainerConfigError":
        return Trouble(Reason.CONFIG_MISSING, f"Container {name} cannot be created: {words}")
    if reason in _START_REASONS:
        return Trouble(Reason.CRASH_LOOP, f"Container {name} cannot be started", words)
    if container.get("ready") or container.get("started"):
        return None
    # Started again after a failure and not up yet: still the same trouble, or the status would flap with each try.
    if reason == "CrashLoopBackOff" or "terminated" in state or container.get("restartCount"):
        return _exit_trouble(container, _ended(container), ends_well=ends_well)
    return None


def _exit_trouble(container: Body, ended: Body, *, ends_well: bool) -> Trouble | None:
    if not ended or (ends_well and ended.get("exitCode") == 0):
        return None
    name, report, words = container["name"], _report(ended), " ".join(str(ended.get("message", "")).split())
    is_fetch = name == names.FETCH
    if isinstance(report.get("message"), str):
        default = Reason.FETCH_FAILED if is_fetch else Reason.LOAD_FAILED
        return Trouble(_REPORTED.get(str(report.get("reason")), default), report["message"])
    why = ended.get("reason", "Error")
    if why in _START_FAILURES:
        return Trouble(Reason.CRASH_LOOP, f"Container {name} cannot be started", words)
    message = f"Container {name} exits with code {ended.get('exitCode')} ({why})"
    return Trouble(Reason.FETCH_FAILED if is_fetch else Reason.CRASH_LOOP, message, _last(words))


def _last(words: str) -> str:
    """Return the end of what a container said, from the beginning of a word."""
    end = words[-_LONGEST_WORDS:]
    return end if end == words else end.partition(" ")[2] or end


def _scheduler_says(pod: Body) -> str | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason") or "The scheduler gives no reason.")
    return None


def _is_refusal(condition: Body) -> bool:
    return bool(condition["type"] == "ReplicaFailure" and condition["status"] == "True")


def refused(words: str) -> Trouble:
    """Quotas and admission policies refuse pods; these are their words."""
    words = _REFUSED_POD.sub("", words)
    is_full = "exceeded quota" in words or "insufficient quota" in words
    return Trouble(Reason.WAITING_FOR_CAPACITY if is_full else Reason.REJECTED, f"Its pods are refused: {words}")


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
