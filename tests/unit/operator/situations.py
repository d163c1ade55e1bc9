"""The situations of a service, each with what its conditions say and what tools read from them (docs/conditions.md)."""

from __future__ import annotations

from typing import NamedTuple

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import Rollout
from modelservice_operator.observe import Problem, Seen
from modelservice_operator.report import status
from modelservice_operator.rollout.plan import decide
from modelservice_operator.rollout.situation import Entry, Situation, Trouble, Verdict, Workload
from unit.operator.makers import DIGEST, Body, children, entry, parsed, promoted, service, traffic_service

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"
STABLE = promoted(digest=DIGEST, spec={"model": {"uri": "pvc://models/m"}})
PASSED = entry("m-2", 2, verdict=Verdict.PASSED, digest=DIGEST)
CRASH = Trouble(Reason.CRASH_LOOP, "Container server exits with code 1 (Error)", "KeyError: 'a'")
UNSCHEDULABLE = Trouble(Reason.UNSCHEDULABLE, "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
QUOTA = Trouble(Reason.WAITING_FOR_CAPACITY, "Its pods are refused: exceeded quota: gpus")


def load(wanted: int, ready: int | None = None, *troubles: Trouble) -> Workload:
    up = wanted if ready is None else ready
    return Workload(wanted=wanted, pods=wanted, ready=up, available=up, troubles=troubles)


def saw(
    desired: str = "m-1",
    replicas: int = 3,
    *,
    ledger: tuple[Entry, ...] = (STABLE,),
    traffic: str = "m-1",
    paused: bool = False,
    problem: Problem | None = None,
    before: Body | None = None,
    spec: Body | None = None,
    **workloads: Workload,
) -> Seen:
    """What is seen; `workloads` are named after the revision without its dash: `m1=load(3)`."""
    named = {f"{name[0]}-{name[1:]}": workload for name, workload in workloads.items()}
    carriers = frozenset(traffic.split())
    situation = Situation(desired, replicas, ledger, named, carriers, rollout=Rollout(paused=paused))
    body = service(status=before, **spec or {})
    return Seen(body, children(traffic_service(*carriers)), situation, parsed(**spec or {}), problem=problem)


def told(seen: Seen, now: str = NOW) -> Body:
    plan = decide(seen.situation) if seen.situation.desired else None
    return status(seen, plan, seen.problem, now)


class Row(NamedTuple):
    """What conditions Ready and Available say, and the verdict of kstatus."""

    seen: Seen
    ready: tuple[str, str]
    available: str
    kstatus: str


SETTLED = saw(m1=load(3))
ROLLING = saw("m-2", ledger=(STABLE, PASSED), traffic="m-1 m-2", m1=load(3), m2=load(1))
CANDIDATE = saw("m-2", ledger=(STABLE, entry("m-2", 2)), m1=load(3), m2=load(1, 0))
FIRST = saw(ledger=(entry(),), traffic="", m1=load(1, 0))


def candidate(trouble: Trouble) -> Seen:
    return saw("m-2", ledger=(STABLE, entry("m-2", 2)), m1=load(3), m2=load(1, 0, trouble))


TABLE = {
    "in force": Row(SETTLED, ("True", "Ready"), "True", "Current"),
    "rolling": Row(ROLLING, ("False", "RollingOut"), "True", "InProgress"),
    "candidate without traffic": Row(CANDIDATE, ("False", "RollingOut"), "True", "InProgress"),
    "first pod loads": Row(FIRST, ("False", "ModelLoading"), "False", "InProgress"),
    "not all pods are ready yet": Row(saw(m1=load(3, 2)), ("False", "ModelLoading"), "True", "InProgress"),
    "paused": Row(
        saw("m-2", paused=True, m1=load(3), ledger=(STABLE, entry("m-2", 2))), ("False", "Paused"), "True", "InProgress"
    ),
    "paused before the first": Row(
        saw(paused=True, traffic="", ledger=(entry(),)), ("False", "Paused"), "False", "InProgress"
    ),
    "candidate crashes": Row(candidate(CRASH), ("False", "CrashLoop"), "True", "InProgress"),
    "candidate has no node": Row(candidate(UNSCHEDULABLE), ("False", "WaitingForCapacity"), "True", "InProgress"),
    "candidate is refused by a quota": Row(candidate(QUOTA), ("False", "WaitingForCapacity"), "True", "InProgress"),
    "all pods crash": Row(saw(m1=load(3, 0, CRASH)), ("False", "CrashLoop"), "False", "InProgress"),
    "zero by choice": Row(saw(replicas=0, m1=load(0)), ("True", "ScaledToZero"), "False", "Current"),
    "name conflict": Row(
        saw(problem=Problem(Reason.NAME_CONFLICT, "Service 'm' belongs to others."), m1=load(3)),
        ("False", "NameConflict"),
        "True",
        "Failed",
    ),
    "invalid before the first": Row(
        saw("", problem=Problem(Reason.BAD_OVERLAY, "No."), traffic=""), ("False", "BadOverlay"), "False", "Failed"
    ),
}
