"""What a revision has to show before it goes on: an evaluation, readiness in time, pauses and live requests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import OnNoTraffic, RolloutStep
from modelservice_operator.rollout import analysis, gates
from modelservice_operator.rollout.decision import Judge, Phase, Plan
from modelservice_operator.rollout.gates import DATASET, GateVerdict
from modelservice_operator.rollout.situation import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.rollout.situation import Entry, Situation

# Whom live requests judge must be easy to take back: without steps its first pod is one.
_FIRST_POD = (RolloutStep.model_validate({"weight": "1%"}),)


def must_prove(seen: Situation, entry: Entry) -> bool:
    """Tell whether a revision has to earn its traffic: not one that had it before, nor one that people promote."""
    return not entry.promotion and seen.orders.promote != entry.name


def awaits_evaluation(seen: Situation, entry: Entry) -> bool:
    """Tell whether a revision is still to pass one, as one pod: several would answer as more than what one can do."""
    return seen.evaluation is not None and must_prove(seen, entry) and entry.verdict is not Verdict.PASSED


def evaluate(seen: Situation, entry: Entry, replicas: dict[str, int], traffic: tuple[str, ...]) -> Plan | None:
    """Return what the evaluation of a revision asks for; None: it has nothing to prove, or has done so."""
    terms = seen.evaluation
    if terms is None or not awaits_evaluation(seen, entry):
        return None
    if seen.replicas == 0:
        message = f"Revision {entry.name} is evaluated as soon as a replica is wanted."
        return Plan(Phase.WAITING, message, None, replicas, traffic)
    found, stable = seen.evaluated.get(entry.name), seen.stable
    measured = found.measured if found is not None else {}
    judged = gates.gates(terms, measured, stable.measured if stable is not None else {})
    if found is None or any(gate.verdict is GateVerdict.PENDING for gate in judged):
        words = found.problem if found is not None else ""
        message = f"Evaluating revision {entry.name}" + (f", again: {words}" if words else ".")
        return Plan(Phase.EVALUATING, message, None, replicas, traffic, evaluate=entry.name)
    if failed := [gate for gate in judged if gate.verdict is GateVerdict.FAILED]:
        words = "; ".join(gate.sentence for gate in failed)
        return fail(entry, Reason.GATE_FAILED, f"{words}.", measured)
    message = f"Revision {entry.name} has passed its evaluation."
    return Plan(Phase.EVALUATING, message, Judge(entry.name, Verdict.PASSED, measured=measured))


def steps(seen: Situation, entry: Entry) -> tuple[RolloutStep | None, RolloutStep | None]:
    """Return the step that a revision stands at and the one that it goes to; None: the beginning, the end."""
    if not must_prove(seen, entry):
        return None, None
    steps = seen.rollout.steps or (_FIRST_POD if seen.rollout.analysis is not None else ())
    at = min(entry.step, len(steps))
    return steps[at - 1] if at else None, steps[at] if at < len(steps) else None


def waits(seen: Situation, entry: Entry, step: RolloutStep) -> Plan | None:
    """Return for what a revision has to wait before it goes on from a step, and until when if time ends that."""
    if (left := step.pause.timedelta - seen.since(entry.step_time)) > timedelta(0):
        return Plan(Phase.ANALYSING, f"Revision {entry.name} stays at {step.weight} for {step.pause}.", again=left)
    terms, reading = seen.rollout.analysis, seen.readings.get(entry.name)
    if terms is None or analysis.find(terms, reading, None).is_enough:
        return None
    if reading is None or reading.silent:  # not to be heard is not to be idle
        why = f": {reading.silent[0]}" if reading is not None else ""
        return Plan(Phase.ANALYSING, f"Waiting for the metrics of revision {entry.name}{why}.")
    if terms.on_no_traffic is OnNoTraffic.PROMOTE and DATASET in entry.measured:
        return None
    return Plan(Phase.ANALYSING, f"Waiting until revision {entry.name} has answered {terms.min_requests} requests.")


def has_to_wait(seen: Situation, entry: Entry) -> bool:
    """Tell whether anything but pods stands between a revision and its promotion."""
    at, to = steps(seen, entry)
    return to is not None or (at is not None and waits(seen, entry, at) is not None)


def was_not_ready_in_time(seen: Situation, entry: Entry) -> Plan | None:
    """Return the verdict on a revision of which no pod became ready; None: there may still be one."""
    left = until_deadline(seen, entry)
    if left is None or left > timedelta(0):
        return None
    troubles = [each.sentence for each in seen.workload(entry.name).troubles]
    limit = f"No pod became ready within spec.startupTimeout ({seen.startup_timeout}) of its start"
    return fail(entry, Reason.NEVER_READY, ": ".join([limit, *troubles[:1]]) + ("" if troubles else "."))


def until_deadline(seen: Situation, entry: Entry) -> timedelta | None:
    """Return how long a revision may still take to become ready; None: no clock runs, or it has been before."""
    load = seen.workload(entry.name)
    if not must_prove(seen, entry) or entry.verdict is not Verdict.UNDECIDED or load.loads_since is None:
        return None
    return seen.startup_timeout - (seen.now - load.loads_since)


def fail(entry: Entry, reason: Reason, message: str, measured: Mapping[str, str] | None = None) -> Plan:
    """Return the verdict that a revision has failed, with the evidence."""
    found = {**entry.measured, **(measured or {})}
    return Plan(
        Phase.FAILED, message, Judge(entry.name, Verdict.FAILED, reason=reason, message=message, measured=found)
    )
