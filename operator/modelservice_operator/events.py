"""What is worth an Event of Kubernetes: what `kubectl describe` tells of a ModelService. No I/O.

Decisions about revisions and about the number of replicas are, and whatever turns condition Ready or takes the last
serving pod away. What merely goes its course (a pod starts, a roll goes on) is not. So a service that comes up has one
Event, when it is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelservice_operator.api.reasons import ConditionType, EventReason, Reason
from modelservice_operator.engine.recorder import LONGEST_NOTE, Event
from modelservice_operator.rollout.decision import Adopt, Judge, Mark, Record
from modelservice_operator.rollout.evidence import end
from modelservice_operator.rollout.situation import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.rollout.situation import Situation
    from modelservice_operator.scaling import Decision

_ORDINARY = (Reason.ROLLING_OUT, Reason.MODEL_LOADING)
_NO_WARNING = (Reason.PAUSED, Reason.READY, Reason.SCALED_TO_ZERO)


def of_status(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Event]:
    """Return what a status tells that the one before did not."""
    events = []
    ready, was_ready = _condition(after, ConditionType.READY), _condition(before, ConditionType.READY)
    reason = ready.get("reason", "")
    if (ready.get("status"), reason) != (was_ready.get("status"), was_ready.get("reason")) and reason not in _ORDINARY:
        events.append(Event(reason, ready["message"], "Reconcile", is_warning=reason not in _NO_WARNING))
    serves, served = _condition(after, ConditionType.AVAILABLE), _condition(before, ConditionType.AVAILABLE)
    if served.get("status") == "True" and serves.get("reason") == Reason.NO_READY_POD:
        events.append(Event(Reason.NO_READY_POD, serves["message"], "Reconcile", is_warning=True))
    return events


def of_decision(line: Record | Adopt | Judge | Mark, seen: Situation) -> Event | None:
    """Return what a line of the ledger tells that was decided on in this situation."""
    stable = seen.stable.name if seen.stable else ""
    match line:
        case Record() if stable:
            return _rollout(EventReason.REVISION_RECORDED, f"Revision {seen.desired} is to take over from {stable}.")
        case Adopt(name):
            return _rollout(EventReason.REVISION_ADOPTED, f"Revision {name} serves and was not on record.")
        case Judge(name, Verdict.PROMOTED) if stable and stable != name:
            known = seen.entry(name)
            if known is not None and known.promotion:
                return _rollout(EventReason.ROLLED_BACK, f"Revision {name} has taken over again from {stable}.")
            return _rollout(EventReason.REVISION_PROMOTED, f"Revision {name} has taken over from {stable}.")
        case Judge(name, Verdict.SUPERSEDED, _, reason):
            note = f"Revision {name} gave way to {seen.desired} because of {reason}."
            return Event(EventReason.REVISION_SUPERSEDED, note, "Rollout", is_warning=True)
        case Judge(name, Verdict.FAILED, _, reason, message):
            note = _with_end(f"Revision {name} failed ({reason}): {message}", line.log)
            return Event(EventReason.REVISION_FAILED, note, "Rollout", is_warning=True)
    return None


def _with_end(note: str, log: str) -> str:
    """Add as many of the last lines of a log as an Event can hold."""
    room = LONGEST_NOTE - len(f"{note}\n".encode())
    return f"{note}\n{end(log, room)}" if log and room > 0 else note


def of_scaling(before: int, decision: Decision) -> Event:
    """Return what a change of the number of replicas tells."""
    note = f"From {before} to {decision.replicas} replicas ({decision.rule}): {decision.message}"
    return Event(EventReason.SCALED, note, "Scale")


def _rollout(reason: EventReason, note: str) -> Event:
    return Event(reason, note, "Rollout")


def _condition(status: Mapping[str, Any], kind: ConditionType) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions") or () if each["type"] == kind), {})
