"""Decides the next step of a service: which ledger line to write, how many pods of each revision, who gets the traffic.

`decide` is a pure function. It is called again after everything that it asked for was written and whenever something
changed, so each call names one step, and a crash between two calls costs nothing. The aim is the desired revision, or
if that failed the one promoted before. The cases:

    traffic        aim             and                              step
    -------------  --------------  -------------------------------  -------------------------------------------------
    any            not recorded    the ledger lacks the desired     record it
    any            any             ledger lost, a revision serves   adopt the serving revision as stable
    any            any             a failed revision is not wanted  forget that it failed, once it has no traffic
                                   any more, or is to be retried
    any            desired         a rollback of it was ordered     it failed
    none yet       none            the first one failed             no pods
    none yet       the first       none of its pods is ready        start it, other revisions to zero before
    none yet       the first       a pod is ready, or zero wanted   evaluate it, promote it
    somebody's     the first       all promised pods are available  promote it, and take the traffic over
    stable         stable                                           hold the promised number, other revisions to zero
    stable         stable          the one before may still stay    hold its pods, idle
    stable         another         a third revision has pods        wait until they are gone
    stable         another         paused, or the budget is spent   hold
    stable         another         none of its pods is available    one pod of it beside the promised number
    stable         another         there is no room for that pod    one old pod makes room
    stable         another         none was ready in time           it failed
    stable         another         a pod is available               evaluate it: passed, or it failed
    stable         another         passed                           widen the traffic
    stable         another         blue/green, passed               all its pods, then all the traffic
    stable+other   other           it answers worse                 it failed
    stable+other   other           a step is not reached            one more of it, one less of stable, in turn
    stable+other   other           a step is reached                note it, wait out its pause, judge its requests
    stable+other   other           no steps are left                the same up to the promised number
    stable+other   other           all promised pods are available  promote it
    stable+other   stable          other failed                     all the traffic to stable, no pods of other
    stable+other   stable          not enough stable available      the same in reverse
    stable+other   any             there is no room for a pod       one of the other side makes room
    stable+other   stable          all promised pods are available  narrow the traffic to stable
    stable+other   a third         other gets on by itself          complete the roll first
    stable+other   a third         other is in trouble, or has      supersede it, then as if stable were desired
                                   something to prove or to wait for

Only a revision whose verdict is Passed is rolled to: a promotion replaces that verdict, so that nothing rolls back to
the revision that has just been left. A promotion makes the other revision the stable one, so that the case
"stable+other, stable desired" narrows the traffic behind it. A revision that was promoted before is let in without
gates, steps or freeze: going there is a rollback. Where live requests judge and no steps are given, the first pod is a
step.

What holds in every case: a pod that serves is only given up when the promised number stays available without it, at
most one pod beyond the promised number is asked for, and no third revision has pods while two share the traffic. But:
pods of a failed revision count for nothing, blue/green has all pods twice, and one that makes room has one pod less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout import analysis, pace, proof
from modelservice_operator.rollout.decision import Adopt, Judge, Mark, Phase, Plan, Record
from modelservice_operator.rollout.situation import Entry, Situation, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelservice_operator.api.types import RolloutStep

KEPT_REVISIONS = 10


def decide(seen: Situation) -> Plan:
    """Return the next step for what is seen: the first policy that speaks decides."""
    for policy in ROLLOUT:
        plan = policy(seen)
        if plan is not None:
            return plan
    raise AssertionError("the last policy always speaks")  # pragma: no cover


def collectable(seen: Situation) -> list[str]:
    """Return the ledger's entries beyond the last ten that nothing uses any more, oldest first."""
    stable = seen.stable
    used = {seen.desired, seen.aim, *seen.traffic, *((stable and [stable.name]) or [])}
    old = sorted(seen.ledger, key=lambda entry: (entry.promotion, entry.sequence))[:-KEPT_REVISIONS]
    return [entry.name for entry in old if entry.name not in used and seen.workload(entry.name).gone]


def gives_something_up(seen: Situation, plan: Plan) -> bool:
    """Tell whether a plan leaves the stable revision, forgets a failure, makes room, or takes traffic or pods away.

    Not for an outdated spec, ledger or traffic: what else a new process sees may be newer than those, and what was done
    for the newer ones would be undone.
    """
    leaves = seen.stable is not None and seen.stable.name != seen.aim
    if leaves or isinstance(plan.ledger, Mark):
        return True
    if plan.ledger is not None:
        return isinstance(plan.ledger, Judge) and plan.ledger.verdict is Verdict.UNDECIDED
    takes_pods = any(load.wanted > plan.replicas.get(name, 0) for name, load in seen.workloads.items())
    return takes_pods or not seen.traffic <= set(plan.traffic)


def removable(seen: Situation, plan: Plan) -> list[str]:
    """Return the revisions whose Deployment has no pods left; their ledger lines can bring them back."""
    return sorted(
        name for name, load in seen.workloads.items() if load.exists and load.gone and name not in plan.replicas
    )


# -- policies, in order of precedence


def adopts_what_serves(seen: Situation) -> Plan | None:
    """A lost ledger must not stop what serves: the revision behind the Service becomes its latest line again."""
    unknown = sorted(name for name in seen.traffic if seen.entry(name) is None and seen.workload(name).exists)
    if not unknown or (seen.stable is not None and seen.stable.name in seen.traffic):
        return None
    best = max(unknown, key=lambda name: (name == seen.desired, seen.workload(name).available))
    return Plan(Phase.WAITING, f"Adopting revision {best}, which serves and is not in the ledger.", Adopt(best))


def records_the_desired(seen: Situation) -> Plan | None:
    """Every revision that was ever wanted is in the ledger, with the exact template that it would run."""
    if seen.entry(seen.desired) is not None:
        return None
    return Plan(Phase.WAITING, f"Recording revision {seen.desired}.", Record())


def forgets_what_failed(seen: Situation) -> Plan | None:
    """A failure binds as long as the spec describes the revision and nobody orders another try, or it has traffic."""
    for entry in seen.ledger:
        if entry.verdict is not Verdict.FAILED or entry.name == seen.newcomer:
            continue
        is_retried = seen.orders.retry not in {"", entry.retried}
        if entry.name != seen.desired or is_retried:
            message = f"Forgetting that revision {entry.name} failed."
            return Plan(Phase.WAITING, message, Judge(entry.name, Verdict.UNDECIDED))
    return None


def obeys_a_rollback(seen: Situation) -> Plan | None:
    """Somebody gives the desired revision up: it has failed, whatever it has shown."""
    desired = seen.known(seen.desired)
    others = [entry for entry in seen.ledger if entry.promotion and entry.name != desired.name]
    if seen.orders.rollback != desired.name or desired.verdict is Verdict.FAILED or not others:
        return None
    return proof.fail(desired, Reason.ROLLED_BACK, "The annotation modelservice.dev/rollback gives it up.")


def keeps_out_the_first(seen: Situation) -> Plan | None:
    """The only revision there ever was has failed: there is none to go back to."""
    if seen.aim:
        return None
    return Plan(Phase.FAILED, _why_failed(seen))


def starts_the_first(seen: Situation) -> Plan | None:
    """Nothing was promoted yet: no traffic to protect, so all pods start at once as soon as others are gone."""
    if seen.stable is not None:
        return None
    desired = seen.known(seen.desired)
    own = seen.workload(desired.name)
    if seen.paused:
        return Plan(
            Phase.PAUSED, f"Revision {desired.name} starts when spec.rollout.paused is false.", None, _held(seen)
        )
    if others := _others_with_pods(seen, desired.name):
        return Plan(Phase.WAITING, f"Waiting until the pods of revision {others[0]} are gone.")
    replicas = {desired.name: pace.allowed(seen, desired.name)}
    may_serve = own.ready if seen.has_service else pace.serving(seen, desired.name) >= seen.replicas
    if proof.awaits_evaluation(seen, desired):
        replicas, may_serve = {desired.name: min(1, seen.replicas)}, own.ready
    if may_serve or seen.replicas == 0:
        return proof.evaluate(seen, desired, replicas, ()) or _promote(seen, desired)
    message = f"Waiting for the first ready pod of revision {desired.name}."
    if not seen.has_service:
        message = f"What is handed over serves until all pods of revision {desired.name} are available."
    return Plan(Phase.STARTING, message, None, replicas)


def fails_what_answers_worse(seen: Situation) -> Plan | None:
    """What shares the traffic and fails, or is slower than the stable revision, goes no further."""
    newcomer, terms = seen.newcomer, seen.rollout.analysis
    if newcomer is None or terms is None or seen.aim != newcomer:
        return None
    entry = seen.known(newcomer)
    if not proof.must_prove(seen, entry):
        return None
    reading = seen.readings.get(newcomer)
    found = analysis.find(terms, reading, seen.readings.get(seen.incumbent.name))
    if found.reason is None or reading is None:
        return None
    return proof.fail(entry, found.reason, found.message, analysis.measured(reading))


def leaves_what_failed(seen: Situation) -> Plan | None:
    """A failed revision loses its traffic and its pods at once, if any pod of the stable one can answer."""
    newcomer, stable = seen.newcomer, seen.incumbent
    if newcomer is None or seen.known(newcomer).verdict is not Verdict.FAILED:
        return None
    if not min(seen.workload(stable.name).available, seen.workload(stable.name).wanted) and seen.replicas:
        return None
    message = f"Returning to revision {stable.name} at once."
    return Plan(Phase.RETURNING, message, None, {stable.name: pace.allowed(seen, stable.name)}, (stable.name,))


def returns_to_stable(seen: Situation) -> Plan | None:
    """Another revision shares the traffic and must not go on: stable grows back, then the traffic narrows to it."""
    stable, newcomer = seen.incumbent, seen.newcomer
    if newcomer is None or seen.aim == newcomer:
        return None
    if seen.aim != stable.name and seen.known(newcomer).verdict is Verdict.PASSED:
        return None
    if pace.serving(seen, stable.name) >= seen.replicas:
        message = f"Narrowing the traffic to revision {stable.name}."
        replicas = {stable.name: seen.replicas, newcomer: seen.workload(newcomer).wanted}
        return Plan(Phase.RETURNING, message, None, replicas, (stable.name,))
    message = f"Returning to revision {stable.name}: waiting until all its pods are available."
    plan = Plan(Phase.RETURNING, message)
    if (entry := seen.entry(newcomer)) is not None and (room := pace.wants_room(seen, entry, is_leaving=True)):
        if room.ledger is not None:
            return room
        plan = room
    return replace(plan, replicas=pace.shift(seen, newcomer, stable.name), traffic=_wide(seen))


def gives_way(seen: Situation) -> Plan | None:
    """A newer spec waits behind a roll that is in trouble or has yet to prove itself: that is given up for good."""
    newcomer = seen.newcomer
    if newcomer is None or seen.aim == newcomer:
        return None
    entry, troubles = seen.known(newcomer), seen.workload(newcomer).troubles
    if not troubles and not proof.has_to_wait(seen, entry):
        return None
    reason = troubles[0].reason if troubles else Reason.NEWER_SPEC
    why = f": {troubles[0].sentence}" if troubles else "."
    message = f"Revision {newcomer} gives way to {seen.desired}{why}"
    judge = Judge(newcomer, Verdict.SUPERSEDED, reason=reason, message=message, measured=entry.measured)
    return Plan(Phase.RETURNING, message, judge)


def goes_on(seen: Situation) -> Plan | None:
    """Two revisions share the traffic: one more of the new, one less of the old, with a stop at each step."""
    newcomer = seen.newcomer
    if newcomer is None:
        return None
    entry = seen.known(newcomer)
    at, to = proof.steps(seen, entry)
    if (held := _held_in(seen, entry)) is not None:
        words = _held_words(held, f"The roll to revision {newcomer} goes on")
        return _share(seen, entry, at, Plan(held, words), may_gain=False)
    if (room := pace.wants_room(seen, entry)) is not None:
        return room if room.ledger is not None else _share(seen, entry, to, room)
    if at is not None and (wait := proof.waits(seen, entry, at)) is not None:
        return _share(seen, entry, at, wait)
    new, old = pace.pods(seen, entry, to)
    if pace.serving(seen, newcomer) < new or (to is not None and 0 < old < seen.workload(seen.incumbent.name).occupied):
        message = f"Rolling to revision {newcomer}: waiting until its next pod is available."
        if seen.aim != newcomer:
            message = f"Revision {seen.desired} starts when the roll to {newcomer} is complete."
        return _share(seen, entry, to, Plan(Phase.ROLLING, message))
    if to is not None:
        message = f"Revision {newcomer} has reached {to.weight}."
        return Plan(Phase.ROLLING, message, Mark(newcomer, entry.step + 1, entry.makes_room))
    return _promote(seen, entry)


def holds_stable(seen: Situation) -> Plan | None:
    """The aim is the stable revision: hold the promised number and let every other revision go."""
    stable = seen.incumbent
    if seen.aim != stable.name:
        return None
    phase, message = (Phase.SETTLED, "") if seen.aim == seen.desired else (Phase.FAILED, _why_failed(seen))
    replicas = {stable.name: pace.allowed(seen, stable.name)}
    kept, again = pace.kept_previous(seen)
    if others := _others_with_pods(seen, stable.name, *kept):
        if phase is Phase.SETTLED:
            phase, message = Phase.RETURNING, f"Waiting until the pods of revision {others[0]} are gone."
        return Plan(phase, message, None, replicas, (stable.name,))
    return Plan(phase, message, None, replicas | kept, (stable.name,), again=again)


def waits_for_a_third_to_go(seen: Situation) -> Plan | None:
    """The wide selector takes every pod of the service, so a third revision must have none before the next roll."""
    stable = seen.incumbent
    others = _others_with_pods(seen, stable.name, seen.aim)
    if not others:
        return None
    message = f"Revision {seen.aim} starts when the pods of revision {others[0]} are gone."
    replicas = {stable.name: pace.allowed(seen, stable.name), seen.aim: seen.workload(seen.aim).wanted}
    return Plan(Phase.WAITING, message, None, replicas, (stable.name,))


def is_held(seen: Situation) -> Plan | None:
    """`spec.rollout.paused` and a spent budget hold starts and promotions; the promised number is kept up meanwhile."""
    held = _held_in(seen, seen.known(seen.aim))
    if held is None:
        return None
    stable = seen.incumbent
    replicas = {stable.name: pace.allowed(seen, stable.name), seen.aim: seen.workload(seen.aim).wanted}
    return Plan(held, _held_words(held, f"Revision {seen.aim} starts"), None, replicas, (stable.name,))


def tries_the_next(seen: Situation) -> Plan:
    """One pod of the next revision beside the promised number; when it has proved itself it may take traffic."""
    stable, next_ = seen.incumbent, seen.known(seen.aim)
    load, traffic = seen.workload(next_.name), (stable.name,)
    if seen.replicas == 0:  # no pod will ever prove it, and none serves
        return proof.evaluate(seen, next_, {}, traffic) or _promote(seen, next_)
    if (failed := proof.was_not_ready_in_time(seen, next_)) is not None:
        return failed
    beside = min(pace.allowed(seen, stable.name), pace.most(seen, next_) - 1)
    own = 1 if proof.awaits_evaluation(seen, next_) else min(seen.replicas, max(1, load.wanted))
    replicas = {stable.name: beside, next_.name: own}
    if (room := pace.wants_room(seen, next_)) is not None:
        return room if room.ledger is not None else replace(room, replicas=replicas, traffic=traffic)
    if not load.available:
        message = f"Waiting until the first pod of revision {next_.name} is available."
        return Plan(Phase.ROLLING, message, None, replicas, traffic, again=proof.until_deadline(seen, next_))
    if (plan := proof.evaluate(seen, next_, replicas, traffic)) is not None:
        return plan
    if next_.verdict is not Verdict.PASSED:
        return Plan(Phase.ROLLING, f"Passing revision {next_.name}.", Judge(next_.name, Verdict.PASSED))
    has_all = pace.serving(seen, next_.name) >= seen.replicas
    if has_all and not proof.must_prove(seen, next_):
        return _promote(seen, next_)
    if pace.is_blue_green(seen, next_):
        message = f"Waiting until all pods of revision {next_.name} are available."
        if has_all:
            message, traffic = f"All traffic moves to revision {next_.name}.", (next_.name,)
        replicas = {name: pace.allowed(seen, name) for name in (stable.name, next_.name)}
        return Plan(Phase.ROLLING, message, None, replicas, traffic)
    message = f"Widening the traffic to revision {next_.name}."
    return Plan(Phase.ROLLING, message, None, replicas, tuple(sorted((stable.name, next_.name))))


ROLLOUT: tuple[Callable[[Situation], Plan | None], ...] = (
    adopts_what_serves,
    records_the_desired,
    forgets_what_failed,
    obeys_a_rollback,
    keeps_out_the_first,
    starts_the_first,
    fails_what_answers_worse,
    leaves_what_failed,
    returns_to_stable,
    gives_way,
    goes_on,
    holds_stable,
    waits_for_a_third_to_go,
    is_held,
    tries_the_next,
)


def _why_failed(seen: Situation) -> str:
    desired = seen.known(seen.desired)
    return f"Revision {desired.name}: {desired.message or desired.reason}"


def _held_in(seen: Situation, entry: Entry) -> Phase | None:
    """Return what holds a revision back; nothing holds up a way back."""
    if seen.aim != seen.desired:
        return None
    if seen.paused:
        return Phase.PAUSED
    is_frozen = seen.is_spent and seen.rollout.freeze_on_budget_exhausted and proof.must_prove(seen, entry)
    return Phase.FROZEN if is_frozen else None


def _held_words(held: Phase, what: str) -> str:
    if held is Phase.PAUSED:
        return f"{what} when spec.rollout.paused is false."
    return (
        f"{what} when the error budget is no longer spent, or is promoted by the annotation modelservice.dev/promote."
    )


# -- what the policies share


def _share(seen: Situation, entry: Entry, step: RolloutStep | None, plan: Plan, *, may_gain: bool = True) -> Plan:
    """Return the plan with the pods and the traffic of a step; None: of the end."""
    stable = seen.incumbent.name
    if seen.traffic == {entry.name} and pace.is_blue_green(seen, entry):
        replicas = {name: pace.allowed(seen, name) for name in (stable, entry.name)}
        return replace(plan, replicas=replicas, traffic=(entry.name,))
    replicas = pace.shift(seen, stable, entry.name, pace.pods(seen, entry, step), may_gain=may_gain)
    return replace(plan, replicas=replicas, traffic=_wide(seen))


def _promote(seen: Situation, entry: Entry) -> Plan:
    reading = seen.readings.get(entry.name)
    measured = {**entry.measured, **(analysis.measured(reading) if reading is not None else {})}
    judge = Judge(entry.name, Verdict.PROMOTED, seen.next_promotion, measured=measured)
    return Plan(Phase.ROLLING, f"Promoting revision {entry.name}.", judge)


def _others_with_pods(seen: Situation, *names: str) -> list[str]:
    return sorted(name for name, workload in seen.workloads.items() if name not in names and not workload.gone)


def _held(seen: Situation) -> dict[str, int]:
    return {name: min(workload.wanted, seen.replicas) for name, workload in seen.workloads.items()}


def _wide(seen: Situation) -> tuple[str, ...]:
    return tuple(sorted(seen.traffic | {seen.incumbent.name}))
