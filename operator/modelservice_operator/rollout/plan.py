"""Decides the next step of a service: which ledger line to write, how many pods of each revision, who gets the traffic.

`decide` is a pure function. It is called again after everything that it asked for was written and whenever something
changed, so each call names one step, and a crash between two calls costs nothing. The cases:

    traffic        desired is      and                              step
    -------------  --------------  -------------------------------  -------------------------------------------------
    any            not recorded                                     record it
    any            any             ledger lost, a revision serves   adopt the serving revision as stable
    none yet       the first       none of its pods is ready        start it, other revisions to zero before
    none yet       the first       a pod is ready, or zero wanted   promote it
    somebody's     the first       all promised pods are available  promote it, and take the traffic over
    stable         stable                                           hold the promised number, other revisions to zero
    stable         another         a third revision has pods        wait until they are gone
    stable         another         paused                           hold
    stable         another         none of its pods is available    one pod of it beside the promised number
    stable         another         a pod is available               pass it, then widen the traffic
    stable+other   other           not enough of it available       one more of it, one less of stable, in turn
    stable+other   other           all promised pods are available  promote it
    stable+other   stable          not enough stable available      the same in reverse
    stable+other   stable          all promised pods are available  narrow the traffic to stable
    stable+other   a third         other gets on                    complete the roll first
    stable+other   a third         other is in trouble              supersede it, then as if stable were desired

Only a revision whose verdict is Passed is rolled to: a promotion replaces that verdict, so that nothing rolls back to
the revision that has just been left. A promotion makes the other revision the stable one, so that the case
"stable+other, stable desired" narrows the traffic behind it.

What holds in every case: a pod that serves is only given up when the promised number stays available without it, at
most one pod beyond the promised number is asked for, and no third revision has pods while two share the traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from modelservice_operator.rollout.situation import Entry, Situation, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_REVISIONS = 10


class Phase(StrEnum):
    """Where the service is on its way to the desired revision."""

    SETTLED = "Settled"
    STARTING = "Starting"
    ROLLING = "Rolling"
    RETURNING = "Returning"
    WAITING = "Waiting"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True)
class Record:
    """Write the desired revision into the ledger."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Write a lost line of the ledger anew from the Deployment that serves."""

    revision: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Write a verdict, and with a promotion number who is stable, into the ledger."""

    revision: str
    verdict: Verdict
    promotion: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. A plan that writes the ledger asks for nothing else: the ledger comes before pods and traffic."""

    phase: Phase
    message: str = ""  # what is waited for; empty only when settled
    ledger: Record | Adopt | Judge | None = None
    replicas: dict[str, int] = field(default_factory=dict)  # revisions not named here get zero
    traffic: tuple[str, ...] = ()


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
    used = {seen.desired, *seen.traffic, *((stable and [stable.name]) or [])}
    old = sorted(seen.ledger, key=lambda entry: (entry.promotion, entry.sequence))[:-KEPT_REVISIONS]
    return [entry.name for entry in old if entry.name not in used and seen.workload(entry.name).gone]


def gives_something_up(seen: Situation, plan: Plan) -> bool:
    """Tell whether a plan leaves the stable revision or takes pods away, which an outdated spec must not do.

    The children that a new process sees may be newer than the spec that it sees: what was done for the newer spec would
    be undone.
    """
    leaves = seen.stable is not None and seen.stable.name != seen.desired
    loads = seen.workloads.items()
    return leaves or (plan.ledger is None and any(load.wanted > plan.replicas.get(name, 0) for name, load in loads))


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


def starts_the_first(seen: Situation) -> Plan | None:
    """Nothing was promoted yet: no traffic to protect, so all pods start at once as soon as others are gone."""
    if seen.stable is not None:
        return None
    desired = _entry(seen, seen.desired)
    own = seen.workload(desired.name)
    if seen.paused:
        return Plan(
            Phase.PAUSED, f"Revision {desired.name} starts when spec.rollout.paused is false.", None, _held(seen)
        )
    if others := _others_with_pods(seen, desired.name):
        return Plan(Phase.WAITING, f"Waiting until the pods of revision {others[0]} are gone.")
    may_serve = own.ready if seen.has_service else _serving(seen, desired.name) >= seen.replicas
    if may_serve or seen.replicas == 0:
        return _promote(seen, desired)
    message = f"Waiting for the first ready pod of revision {desired.name}."
    if not seen.has_service:
        message = f"What is handed over serves until all pods of revision {desired.name} are available."
    return Plan(Phase.STARTING, message, None, {desired.name: _allowed(seen, desired.name)})


def returns_to_stable(seen: Situation) -> Plan | None:
    """Another revision shares the traffic and must not go on: stable grows back, then the traffic narrows to it."""
    stable, newcomer = _stable(seen), seen.newcomer
    if newcomer is None or seen.desired == newcomer:
        return None
    if seen.desired != stable.name and _entry(seen, newcomer).verdict is Verdict.PASSED:
        return None
    if _serving(seen, stable.name) >= seen.replicas:
        message = f"Narrowing the traffic to revision {stable.name}."
        replicas = {stable.name: seen.replicas, newcomer: seen.workload(newcomer).wanted}
        return Plan(Phase.RETURNING, message, None, replicas, (stable.name,))
    message = f"Returning to revision {stable.name}: waiting until all its pods are available."
    return Plan(Phase.RETURNING, message, None, _shift(seen, newcomer, stable.name), _wide(seen))


def gives_up_what_fails(seen: Situation) -> Plan | None:
    """A newer spec waits behind a roll that is in trouble: the roll is given up, once and for good."""
    newcomer = seen.newcomer
    if newcomer is None or seen.desired == newcomer or not seen.workload(newcomer).troubles:
        return None
    trouble = seen.workload(newcomer).troubles[0]
    message = f"Revision {newcomer} gives way to {seen.desired}."
    return Plan(Phase.RETURNING, message, Judge(newcomer, Verdict.SUPERSEDED, reason=trouble.reason))


def completes_the_roll(seen: Situation) -> Plan | None:
    """Two revisions share the traffic: one more of the new, one less of the old, until the new holds the promise."""
    newcomer = seen.newcomer
    if newcomer is None:
        return None
    stable = _stable(seen)
    if seen.paused:
        message = f"The roll to revision {newcomer} goes on when spec.rollout.paused is false."
        return Plan(Phase.PAUSED, message, None, _shift(seen, stable.name, newcomer, may_gain=False), _wide(seen))
    if _serving(seen, newcomer) >= seen.replicas:
        return _promote(seen, _entry(seen, newcomer))
    message = f"Rolling to revision {newcomer}: waiting until its next pod is available."
    if seen.desired != newcomer:
        message = f"Revision {seen.desired} starts when the roll to {newcomer} is complete."
    return Plan(Phase.ROLLING, message, None, _shift(seen, stable.name, newcomer), _wide(seen))


def holds_stable(seen: Situation) -> Plan | None:
    """The desired revision is the stable one: hold the promised number and let every other revision go."""
    stable = _stable(seen)
    if seen.desired != stable.name:
        return None
    if others := _others_with_pods(seen, stable.name):
        message = f"Waiting until the pods of revision {others[0]} are gone."
        return Plan(Phase.RETURNING, message, None, {stable.name: _allowed(seen, stable.name)}, (stable.name,))
    return Plan(Phase.SETTLED, "", None, {stable.name: _allowed(seen, stable.name)}, (stable.name,))


def waits_for_a_third_to_go(seen: Situation) -> Plan | None:
    """The wide selector takes every pod of the service, so a third revision must have none before the next roll."""
    stable = _stable(seen)
    others = _others_with_pods(seen, stable.name, seen.desired)
    if not others:
        return None
    message = f"Revision {seen.desired} starts when the pods of revision {others[0]} are gone."
    replicas = {stable.name: _allowed(seen, stable.name), seen.desired: seen.workload(seen.desired).wanted}
    return Plan(Phase.WAITING, message, None, replicas, (stable.name,))


def is_paused(seen: Situation) -> Plan | None:
    """`spec.rollout.paused` holds starts and promotions; the promised number is kept up meanwhile."""
    if not seen.paused:
        return None
    stable = _stable(seen)
    message = f"Revision {seen.desired} starts when spec.rollout.paused is false."
    replicas = {stable.name: _allowed(seen, stable.name), seen.desired: seen.workload(seen.desired).wanted}
    return Plan(Phase.PAUSED, message, None, replicas, (stable.name,))


def tries_the_desired(seen: Situation) -> Plan:
    """One pod of the desired revision beside the promised number; when it is available it may take traffic."""
    stable, desired = _stable(seen), _entry(seen, seen.desired)
    if seen.replicas == 0:  # no pod will ever prove it, and none serves
        return _promote(seen, desired)
    replicas = {stable.name: _allowed(seen, stable.name), desired.name: 1}
    if not seen.workload(desired.name).available:
        message = f"Waiting until the first pod of revision {desired.name} is available."
        return Plan(Phase.ROLLING, message, None, replicas, (stable.name,))
    if desired.verdict is not Verdict.PASSED:
        return Plan(Phase.ROLLING, f"Revision {desired.name} may take traffic.", Judge(desired.name, Verdict.PASSED))
    message = f"Sharing the traffic with revision {desired.name}."
    return Plan(Phase.ROLLING, message, None, replicas, (stable.name, desired.name))


ROLLOUT: tuple[Callable[[Situation], Plan | None], ...] = (
    adopts_what_serves,
    records_the_desired,
    starts_the_first,
    returns_to_stable,
    gives_up_what_fails,
    completes_the_roll,
    holds_stable,
    waits_for_a_third_to_go,
    is_paused,
    tries_the_desired,
)


# -- what the policies share


def _shift(seen: Situation, losing: str, gaining: str, *, may_gain: bool = True) -> dict[str, int]:
    """Return the pods of both sides so that what serves plus what is kept holds the promise, with one pod extra."""
    lose, gain = seen.workload(losing), seen.workload(gaining)
    promised = seen.replicas
    keep = promised - _serving(seen, gaining)
    # The promise may have grown, or the gaining side lost pods: the losing side helps as far as the extra pod allows.
    most = min(keep, promised + 1 - gain.occupied, _allowed(seen, losing))
    kept = keep if lose.wanted >= keep else max(lose.wanted, most)
    room = promised + 1 - max(lose.occupied, kept)
    grown = min(_allowed(seen, gaining), max(gain.wanted, room)) if may_gain else min(gain.wanted, promised)
    return {losing: kept, gaining: grown}


def _serving(seen: Situation, name: str) -> int:
    """Pods of a revision that count for the promise: available and not about to be given up."""
    workload = seen.workload(name)
    return min(workload.available, workload.wanted, seen.replicas)


def _allowed(seen: Situation, name: str) -> int:
    """How many pods a revision may have: one until its first fetch has pinned the model, so that all run the same.

    A fetch of the user's own may end without saying what it found; and no pod that runs goes because a pin was lost.
    """
    workload = seen.workload(name)
    if _entry(seen, name).pinned or workload.fetched is not None:
        return seen.replicas
    return min(seen.replicas, max(1, workload.wanted))


def _promote(seen: Situation, entry: Entry) -> Plan:
    judge = Judge(entry.name, Verdict.PROMOTED, seen.next_promotion)
    return Plan(Phase.ROLLING, f"Promoting revision {entry.name}.", judge)


def _others_with_pods(seen: Situation, *names: str) -> list[str]:
    return sorted(name for name, workload in seen.workloads.items() if name not in names and not workload.gone)


def _held(seen: Situation) -> dict[str, int]:
    return {name: min(workload.wanted, seen.replicas) for name, workload in seen.workloads.items()}


def _wide(seen: Situation) -> tuple[str, ...]:
    return tuple(sorted(seen.traffic | {_stable(seen).name}))


def _stable(seen: Situation) -> Entry:
    stable = seen.stable
    if stable is None:  # pragma: no cover - `starts_the_first` speaks before
        raise AssertionError("asked for the stable revision before one was promoted")
    return stable


def _entry(seen: Situation, name: str) -> Entry:
    entry = seen.entry(name)
    if entry is None:  # the ledger lost a line whose pods still have traffic: never pinned, never promoted
        return Entry(name=name, sequence=0)
    return entry
