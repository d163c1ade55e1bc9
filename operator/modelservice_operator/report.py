"""The status of a ModelService, computed anew from what is seen; nothing in it counts or tells the time of day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.api.reasons import ConditionType, Reason
from modelservice_operator.api.status import LARGEST_COUNT, Role
from modelservice_operator.observe import Problem
from modelservice_operator.rollout.decision import Phase, Plan
from modelservice_operator.rollout.gates import SATURATION, gates, number
from modelservice_operator.rollout.history import history
from modelservice_operator.rollout.situation import Entry, Situation, Trouble, Verdict

if TYPE_CHECKING:
    from modelservice_operator.monitoring.budgets import Quality
    from modelservice_operator.monitoring.monitored import Judgement
    from modelservice_operator.observe import Seen
    from modelservice_operator.rollout.gates import Gate

Body = dict[str, Any]


_ON_THE_WAY = {
    Phase.STARTING: Reason.MODEL_LOADING,
    Phase.EVALUATING: Reason.EVALUATING,
    Phase.ANALYSING: Reason.ANALYSING,
    Phase.PAUSED: Reason.PAUSED,
    Phase.FROZEN: Reason.FROZEN,
}

# What differs from one try of a container to the next: times, addresses, process and port numbers; not names.
_FLEETING = re.compile(r"(?<![\w/.-])\d[\w:.,/+-]*")


def status(
    seen: Seen,
    plan: Plan | None,
    problem: Problem | None,
    now: str,
    *,
    outdated: str = "",
    monitored: Judgement | None = None,
    quality: Quality | None = None,
    autoscaled: Judgement | None = None,
    scaled: Body | None = None,
) -> Body:
    """Return the whole status; `plan` is None only where a problem leaves nothing to plan, `now` is in RFC 3339.

    `outdated` says how the desired revision's template differs from what would be rendered today, if it does;
    `monitored` whether the service is watched, where somebody asked for that; `quality` how it keeps its promises;
    `autoscaled` whether its autoscaler works, if it has one; `scaled` how the operator has just changed its number of
    replicas, empty where it has not, None where it never does.
    """
    more = [
        *([(ConditionType.TEMPLATE_OUTDATED, "True", Reason.RENDERED_DIFFERENTLY, outdated)] if outdated else []),
        *([(ConditionType.MONITORED, *monitored)] if monitored is not None else []),
        *([(ConditionType.WITHIN_BUDGET, *quality.within_budget)] if quality is not None else []),
        *([(ConditionType.AUTOSCALER_READY, *autoscaled)] if autoscaled is not None else []),
    ]
    situation = seen.situation
    problem = problem or _failure(situation, plan)
    carriers = sorted(situation.traffic)
    old = seen.service.get("status") or {}
    found: Body = {
        "observedGeneration": seen.service["metadata"]["generation"],
        "conditions": _conditions(seen, plan, problem, now, more),
        "replicas": sum(situation.workload(name).pods for name in carriers),
        "readyReplicas": _ready(situation),
        "selector": _selector(seen.name, carriers),
        "revisions": [_revision(seen, entry) for entry in _shown(seen)],
    }
    url = _url(seen) or old.get("url")
    if url:
        found["url"] = url
    if plan is not None and plan.phase is not Phase.SETTLED:
        found["rollout"] = _rollout(situation, plan)
    if decisions := history(situation.ledger, old.get("history") or ()):
        found["history"] = decisions
    if measured := _measured(situation):
        found["measured"] = measured
    if scaled is not None and (last := scaled or old.get("autoscaling")):
        found["autoscaling"] = last
    if quality is not None:
        found["slo"] = quality.objectives
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


def says(told: Mapping[str, Any], reason: Reason) -> bool:
    """Tell whether a status gives this reason for whether the service is ready."""
    return any(
        each["type"] == ConditionType.READY and each["reason"] == reason for each in told.get("conditions") or ()
    )


# -- conditions


def _conditions(
    seen: Seen, plan: Plan | None, problem: Problem | None, now: str, more: list[tuple[ConditionType, str, Reason, str]]
) -> list[Body]:
    """Return the conditions in a fixed order; all but Ready and Available are there only when they matter."""
    ready = _ready_condition(seen, plan, problem)
    conditions = [
        (ConditionType.READY, *ready),
        (ConditionType.AVAILABLE, *_available_condition(seen)),
        *([(ConditionType.RECONCILING, "True", *ready[1:])] if ready[0] == "False" and problem is None else []),
        *([(ConditionType.STALLED, "True", problem.reason, problem.message)] if problem is not None else []),
        *_scheduled_condition(seen),
        *more,
    ]
    generation = seen.service["metadata"]["generation"]
    return [
        {
            "type": kind.value,
            "status": holds,
            "observedGeneration": generation,
            "lastTransitionTime": _since(_before(seen, kind), holds, now),
            "reason": reason.value,
            "message": message,
        }
        for kind, holds, reason, message in conditions
    ]


def _ready_condition(seen: Seen, plan: Plan | None, problem: Problem | None) -> tuple[str, Reason, str]:
    """Ready: the latest spec is in force. Once it was, pods that come and go change Available, not Ready."""
    situation = seen.situation
    if problem is not None:
        return "False", problem.reason, problem.message
    assert plan is not None  # noqa: S101 - without a problem there is a plan
    if plan.phase is Phase.SETTLED:
        if situation.replicas == 0:
            return "True", Reason.SCALED_TO_ZERO, "No replicas are wanted."
        ready = _ready(situation)
        if ready and (ready >= situation.replicas or _was_ready(seen)):
            return "True", Reason.READY, f"Revision {situation.desired} serves."
    if plan.phase in {Phase.PAUSED, Phase.FROZEN}:
        return "False", _ON_THE_WAY[plan.phase], plan.message
    if (found := _trouble(situation)) is not None:
        subject, trouble = found
        reason = Reason.WAITING_FOR_CAPACITY if trouble.waits_for_capacity else trouble.reason
        told = str(_before(seen, ConditionType.READY).get("message", ""))
        said = _steady(told, f"{subject}: {trouble.message}", trouble.words)
        is_about_room = trouble.waits_for_capacity and plan.phase is Phase.WAITING
        return "False", reason, f"{said} {plan.message}" if is_about_room else said
    if plan.phase is Phase.SETTLED:
        return "False", Reason.MODEL_LOADING, f"Waiting until all pods of revision {situation.desired} are ready."
    return "False", _ON_THE_WAY.get(plan.phase, Reason.ROLLING_OUT), plan.message


def _failure(situation: Situation, plan: Plan | None) -> Problem | None:
    """Return what is wrong with the desired revision, if it failed."""
    if plan is None or plan.phase is not Phase.FAILED:
        return None
    reason = situation.known(situation.desired).reason
    return Problem(next((each for each in Reason if each == reason), Reason.ROLLED_BACK), plan.message)


def _available_condition(seen: Seen) -> tuple[str, Reason, str]:
    situation = seen.situation
    if _ready(situation):
        return "True", Reason.SERVING, "At least one pod that carries traffic is ready."
    if situation.replicas == 0 and situation.stable:
        return "False", Reason.SCALED_TO_ZERO, "No replicas are wanted."
    return "False", Reason.NO_READY_POD, "No pod that carries traffic is ready."


def _scheduled_condition(seen: Seen) -> list[tuple[ConditionType, str, Reason, str]]:
    """Scheduled exists where devices are asked for, or a pod has no node."""
    situation = seen.situation
    troubles = [each for _, load in sorted(situation.workloads.items()) for each in load.troubles]
    troubles += [each.trouble for each in situation.evaluated.values() if each.trouble is not None]
    if waiting := [each for each in troubles if each.waits_for_capacity]:
        return [(ConditionType.SCHEDULED, "False", waiting[0].reason, waiting[0].sentence)]
    asks = seen.spec is not None and seen.spec.accelerator is not None
    if asks and any(load.pods for load in situation.workloads.values()):
        return [(ConditionType.SCHEDULED, "True", Reason.SCHEDULED, "Every pod has a node.")]
    return []


def _trouble(situation: Situation) -> tuple[str, Trouble] | None:
    """Return what speaks against the revision on its way in, or keeps it from being evaluated, else against others."""
    order = [situation.desired, *([situation.newcomer] if situation.newcomer else []), *sorted(situation.workloads)]
    for name in order:
        load, evaluated = situation.workload(name), situation.evaluated.get(name)
        if load.troubles:
            return f"Revision {name}", load.troubles[0]
        if evaluated is not None and evaluated.trouble is not None:
            return f"Evaluation of revision {name}", evaluated.trouble
    return None


def _was_ready(seen: Seen) -> bool:
    """Tell whether the same stable revision was reported Ready before."""
    old = seen.service.get("status") or {}
    stable = next((each["name"] for each in old.get("revisions") or () if each["role"] == Role.STABLE), None)
    return _before(seen, ConditionType.READY).get("status") == "True" and stable == seen.situation.desired


def _before(seen: Seen, kind: ConditionType) -> Body:
    """Return the condition as it was reported last, empty if it was not."""
    old = (seen.service.get("status") or {}).get("conditions") or ()
    return next((each for each in old if each["type"] == kind), {})


def _since(before: Body, holds: str, now: str) -> str:
    return str(before["lastTransitionTime"]) if before.get("status") == holds else now


def _steady(told: str, message: str, words: str) -> str:
    """Return the message with its words, or what was told before if only fleeting words differ or are lacking now."""
    said = f"{message}: {words}" if words else message
    is_same = not words or _FLEETING.sub("", told) == _FLEETING.sub("", said)
    return told if told.startswith(f"{message}: ") and is_same else said


# -- the rest


def _rollout(situation: Situation, plan: Plan) -> Body:
    """Return how far the desired revision has come, and what it must reach."""
    entry, stable, terms = situation.known(situation.desired), situation.stable, situation.evaluation
    found = situation.evaluated.get(entry.name)
    measured = entry.measured or (found.measured if found is not None else {})
    judged = gates(terms, measured, stable.measured if stable is not None else {}) if terms is not None else ()
    return {
        "phase": plan.phase.value,
        "revision": situation.desired,
        **({"step": entry.step} if entry.step else {}),
        **({"gates": [_gate(gate) for gate in judged]} if judged and not entry.promotion else {}),
    }


def _measured(situation: Situation) -> Body:
    """Return what is known of a pod of the stable revision; the ledger's notes may say anything."""
    told = situation.stable.measured if situation.stable is not None else {}
    found = number(told.get(SATURATION, ""))
    return {"saturationConcurrency": int(found)} if found is not None and 1 <= found <= LARGEST_COUNT else {}


def _gate(gate: Gate) -> Body:
    value = {"value": gate.value} if gate.value else {}
    return {"name": gate.name, "verdict": gate.verdict.value, **value, "limit": gate.limit}


def _ready(situation: Situation) -> int:
    return sum(situation.workload(name).ready for name in situation.traffic)


def _url(seen: Seen) -> str:
    """Return the address at which the Service answers, once there is one."""
    body = seen.children.services.get(seen.name)
    if body is None:
        return ""
    port = body["spec"]["ports"][0]
    scheme = "https" if port.get("appProtocol") == "https" else "http"
    return f"{scheme}://{seen.name}.{seen.namespace}.svc:{port['port']}"


def _selector(name: str, carriers: list[str]) -> str:
    chosen = ",".join(carriers) or names.NO_REVISION
    return f"{names.NAME}={name},{names.REVISION} in ({chosen})"


def _shown(seen: Seen) -> list[Entry]:
    """Return the revisions that have pods or are to have some, the stable one first."""
    situation = seen.situation
    stable = situation.stable
    used = {situation.desired, situation.aim, *situation.traffic, *([stable.name] if stable else [])}
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
    on_its_way = entry.name == situation.aim or entry.verdict is Verdict.PASSED
    return Role.CANDIDATE if on_its_way else Role.PREVIOUS


def _weight(situation: Situation, entry: Entry) -> str:
    """Return the share of the requests: the Service spreads them evenly over ready pods."""
    if entry.name not in situation.traffic:
        return "0%"
    ready = _ready(situation)
    if len(situation.traffic) == 1 or not ready:
        return "100%" if len(situation.traffic) == 1 else "0%"
    return f"{round(100 * situation.workload(entry.name).ready / ready)}%"
