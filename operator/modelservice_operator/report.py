"""The status of a ModelService, computed anew from what is seen; nothing in it counts or tells the time of day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.api.reasons import ConditionType, Reason
from modelservice_operator.api.status import Role
from modelservice_operator.rollout.plan import Phase, Plan
from modelservice_operator.rollout.situation import Entry, Situation, Trouble, Verdict

if TYPE_CHECKING:
    from modelservice_operator.observe import Problem, Seen

Body = dict[str, Any]

_CAPACITY = {Reason.UNSCHEDULABLE, Reason.WAITING_FOR_CAPACITY}


def status(seen: Seen, plan: Plan | None, problem: Problem | None, now: str) -> Body:
    """Return the whole status; `plan` is None where the spec could not even be read, `now` is the time in RFC 3339."""
    situation = seen.situation
    carriers = sorted(situation.traffic)
    old = seen.service.get("status") or {}
    found: Body = {
        "observedGeneration": seen.service["metadata"]["generation"],
        "conditions": _conditions(seen, plan, problem, now),
        "replicas": sum(situation.workload(name).pods for name in carriers),
        "readyReplicas": _ready(situation),
        "selector": _selector(seen.name, carriers),
        "revisions": [_revision(seen, entry) for entry in _shown(seen)],
    }
    url = _url(seen) or old.get("url")
    if url:
        found["url"] = url
    if plan is not None and plan.phase is not Phase.SETTLED:
        found["rollout"] = {"phase": plan.phase.value, "revision": situation.desired}
    return found


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Body:
    """Return the merge patch (RFC 7386) that turns `old` into `new`; empty when they are equal."""
    patch: Body = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            if inner := changes(before, value):
                patch[name] = inner
        elif before != value:
            patch[name] = value
    return patch


# -- conditions


def _conditions(seen: Seen, plan: Plan | None, problem: Problem | None, now: str) -> list[Body]:
    """Return the conditions in a fixed order; Reconciling and Stalled are there only while they are true."""
    ready = _ready_condition(seen, plan, problem)
    conditions = [
        (ConditionType.READY, *ready),
        (ConditionType.AVAILABLE, *_available_condition(seen)),
        *([(ConditionType.RECONCILING, "True", *ready[1:])] if ready[0] == "False" and problem is None else []),
        *([(ConditionType.STALLED, "True", problem.reason, problem.message)] if problem is not None else []),
        *_scheduled_condition(seen),
    ]
    before = {each["type"]: each for each in (seen.service.get("status") or {}).get("conditions") or ()}
    generation = seen.service["metadata"]["generation"]
    return [
        {
            "type": kind.value,
            "status": holds,
            "observedGeneration": generation,
            "lastTransitionTime": _since(before.get(kind.value), holds, now),
            "reason": reason.value if isinstance(reason, Reason) else reason,
            "message": message,
        }
        for kind, holds, reason, message in conditions
    ]


def _ready_condition(seen: Seen, plan: Plan | None, problem: Problem | None) -> tuple[str, str, str]:
    """Ready: the latest spec is in force. Once it was, pods that come and go change Available, not Ready."""
    situation = seen.situation
    if problem is not None or plan is None:
        return "False", problem.reason if problem else Reason.INVALID_SPEC, problem.message if problem else ""
    if plan.phase is Phase.SETTLED:
        if situation.replicas == 0:
            return "True", Reason.SCALED_TO_ZERO, "No replicas are wanted."
        ready = _ready(situation)
        if ready and (ready >= situation.replicas or _was_ready(seen)):
            return "True", Reason.READY, f"Revision {situation.desired} serves."
    if plan.phase is Phase.PAUSED:
        return "False", Reason.PAUSED, plan.message
    if (found := _trouble(situation)) is not None:
        name, trouble = found
        reason = Reason.WAITING_FOR_CAPACITY if trouble.reason in _CAPACITY else trouble.reason
        return "False", reason, f"Revision {name}: {trouble.message}"
    if plan.phase is Phase.SETTLED:
        return "False", Reason.MODEL_LOADING, f"Waiting until all pods of revision {situation.desired} are ready."
    reason = Reason.MODEL_LOADING if plan.phase is Phase.STARTING else Reason.ROLLING_OUT
    return "False", reason, plan.message


def _available_condition(seen: Seen) -> tuple[str, str, str]:
    situation = seen.situation
    if _ready(situation):
        return "True", Reason.SERVING, "At least one pod that carries traffic is ready."
    if situation.replicas == 0 and situation.stable:
        return "False", Reason.SCALED_TO_ZERO, "No replicas are wanted."
    return "False", Reason.NO_READY_POD, "No pod that carries traffic is ready."


def _scheduled_condition(seen: Seen) -> list[tuple[ConditionType, str, str, str]]:
    """Scheduled exists where devices are asked for, or a pod has no node."""
    situation = seen.situation
    waiting = [each for load in situation.workloads.values() for each in load.troubles if each.reason in _CAPACITY]
    if waiting:
        return [(ConditionType.SCHEDULED, "False", Reason.UNSCHEDULABLE, waiting[0].message)]
    asks = seen.spec is not None and seen.spec.accelerator is not None
    if asks and any(load.pods for load in situation.workloads.values()):
        return [(ConditionType.SCHEDULED, "True", Reason.SCHEDULED, "Every pod has a node.")]
    return []


def _trouble(situation: Situation) -> tuple[str, Trouble] | None:
    """Return what speaks against the revision on its way in, else against any other that has pods."""
    order = [situation.desired, *([situation.newcomer] if situation.newcomer else []), *sorted(situation.workloads)]
    for name in order:
        load = situation.workload(name)
        if load.troubles:
            return name, load.troubles[0]
    return None


def _was_ready(seen: Seen) -> bool:
    """Tell whether the same stable revision was reported Ready before."""
    old = seen.service.get("status") or {}
    stable = next((each["name"] for each in old.get("revisions") or () if each["role"] == Role.STABLE), None)
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in old.get("conditions") or ())
    return ready and stable == seen.situation.desired


def _since(before: Body | None, holds: str, now: str) -> str:
    return str(before["lastTransitionTime"]) if before is not None and before["status"] == holds else now


# -- the rest


def _ready(situation: Situation) -> int:
    return sum(situation.workload(name).ready for name in situation.traffic)


def _url(seen: Seen) -> str:
    """Return the address at which the Service answers, once there is one."""
    body = seen.children.services.get(seen.name)
    return f"http://{seen.name}.{seen.namespace}.svc:{body['spec']['ports'][0]['port']}" if body else ""


def _selector(name: str, carriers: list[str]) -> str:
    chosen = ",".join(carriers) or names.NO_REVISION
    return f"{names.NAME}={name},{names.REVISION} in ({chosen})"


def _shown(seen: Seen) -> list[Entry]:
    """Return the revisions that have pods or are to have some, the stable one first."""
    situation = seen.situation
    stable = situation.stable
    used = {situation.desired, *situation.traffic, *([stable.name] if stable else [])}
    lines = [line for line in situation.ledger if line.name in used or not situation.workload(line.name).gone]
    return sorted(lines, key=lambda line: (line != stable, line.name))


def _revision(seen: Seen, entry: Entry) -> Body:
    situation = seen.situation
    load = situation.workload(entry.name)
    uri = (entry.spec.get("model") or {}).get("uri", "")
    return {
        "name": entry.name,
        "role": _role(situation, entry).value,
        "model": f"{uri}@{entry.digest}" if entry.digest else uri,
        "replicas": load.wanted,
        "ready": load.ready,
        "weight": _weight(situation, entry),
    }


def _role(situation: Situation, entry: Entry) -> Role:
    if entry == situation.stable:
        return Role.STABLE
    on_its_way = entry.name == situation.desired or entry.verdict is Verdict.PASSED
    return Role.CANDIDATE if on_its_way else Role.PREVIOUS


def _weight(situation: Situation, entry: Entry) -> str:
    """Return the share of the requests: the Service spreads them evenly over ready pods."""
    if entry.name not in situation.traffic:
        return "0%"
    ready = _ready(situation)
    if len(situation.traffic) == 1 or not ready:
        return "100%" if len(situation.traffic) == 1 else "0%"
    return f"{round(100 * situation.workload(entry.name).ready / ready)}%"
