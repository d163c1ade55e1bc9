"""What is new about a ModelService since the last look, and whether the end is reached. Pure."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from modelservice_operator.plugin import words

if TYPE_CHECKING:
    from modelservice_operator.plugin.words import Body

_TOLD_BY_READY = frozenset({"Reconciling", "Stalled"})  # they repeat its reason


class Change(NamedTuple):
    """One thing that is new."""

    about: str
    message: str


class Outcome(Enum):
    """What the wait for a ModelService ends with."""

    READY = "Ready"
    STALLED = "Stalled"


def changes(before: Body | None, after: Body) -> list[Change]:
    """Return what is new; at the first look all that is so, without what was decided earlier."""
    new = facts(after)
    if before is None:
        return [Change(about, message) for about, message in new.items() if not about.startswith("decision ")]
    old = facts(before)
    gone = [about for about in old if about not in new and about.startswith("revision ")]
    return [
        *(Change(about, message) for about, message in new.items() if old.get(about) != message),
        *(Change(about, f"{about.removeprefix('revision ')}: gone.") for about in gone),
    ]


def facts(service: Body) -> dict[str, str]:
    """Return a sentence for everything that may change, by what it is about."""
    status = words.status_of(service)
    found = {} if words.is_current(service) else {"spec": words.unseen(service)}
    if rollout := status.get("rollout"):
        found["rollout"] = words.rollout(rollout)
        for gate in rollout.get("gates") or ():
            measured = words.gate(gate)
            found[f"gate {gate['name']}"] = f"Gate {gate['name']}: {gate['verdict']}{measured and f' ({measured})'}"
    for each in status.get("revisions") or ():
        share = f"{each['ready']} of {each['replicas']} pods ready, {each['weight']} of the requests"
        found[f"revision {each['name']}"] = f"{each['name']}: {each['role']}, {share}"
    for line in reversed(status.get("history") or ()):
        found[f"decision {line.get('decidedTime', '')} {line['revision']}"] = f"Decided: {words.decision(line)}"
    for each in status.get("conditions") or ():
        if each["type"] not in _TOLD_BY_READY:
            told = f"{each['type']} {each['status']}, {each['reason']}: {each['message']}"
            found[f"condition {each['type']}"] = words.one_line(told)
    return found


def outcome(service: Body) -> Outcome | None:
    """Tell whether the latest spec is in force, or cannot be until somebody acts."""
    if not words.is_current(service):
        return None
    holds = {each["type"]: each["status"] == "True" for each in words.status_of(service).get("conditions") or ()}
    return next((each for each in (Outcome.STALLED, Outcome.READY) if holds.get(each.value)), None)
