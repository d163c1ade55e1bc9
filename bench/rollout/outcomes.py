"""What became of the revisions, as rows and figures. Pure: from what the lanes have seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from changes import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from changes import Change, End
    from e2e.client import Load


class State(StrEnum):
    """How a rollout came to rest."""

    AS_MEANT = "as meant"
    OTHERWISE = "OTHERWISE"
    """At another end than it should."""
    STUCK = "STUCK"
    """At none, and not where the status says for what it waits either."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the revision of a change."""

    change: Change
    revision: str
    found: End
    state: State
    seconds: float
    """From the change until nothing moves any more."""
    decided_time: str = ""


def revision_of(pod: str) -> str:
    """Return the revision of a pod: a Deployment has its name, and names of pods add two parts to that."""
    return pod.rsplit("-", 2)[0]


def answers(revision: str, load: Load) -> int:
    """Return how many requests a revision has answered."""
    return sum(number for pod, number in load.answers.items() if revision_of(pod) == revision)


def seconds_after_verdict(outcome: Outcome, load: Load) -> float | None:
    """Return how long after its verdict a revision that was taken back gave its last answer; None: it gave none.

    The ledger's time of the decision has no fractions: they are cut off, so this is up to a second too long.
    """
    last = [moment for pod, moment in load.last.items() if revision_of(pod) == outcome.revision]
    if outcome.found.decision != "RolledBack" or not last:
        return None
    return max(0.0, max(last) - datetime.fromisoformat(outcome.decided_time).timestamp())


def row(outcome: Outcome, load: Load) -> str:
    """Return a line about one of them."""
    change, found, after = outcome.change, outcome.found, seconds_after_verdict(outcome, load)
    what = " ".join(part for part in (found.decision or "-", found.reason) if part)
    answered = f"{answers(outcome.revision, load):5} answers"
    late = f", the last {after:.1f} s after the verdict" if after is not None else ""
    told = f"{outcome.state}: {what}"
    return f"{change.kind:38} {change.title:28} {told:42} {outcome.seconds:6.1f} s  {answered}{late}"


def figures(played: Sequence[tuple[Sequence[Outcome], Load]]) -> Mapping[str, Any]:
    """Return what is told of all lanes together."""
    all_of_them = [(outcome, load) for outcomes, load in played for outcome in outcomes]
    kinds = Counter(outcome.change.kind for outcome, _ in all_of_them)
    bad = [(outcome, load) for outcome, load in all_of_them if outcome.change.kind is Kind.GATE]
    after = {True: [0.0], False: [0.0]}
    for outcome, load in all_of_them:
        after[outcome.change.keeps].append(seconds_after_verdict(outcome, load) or 0.0)
    states = Counter(outcome.state for outcome, _ in all_of_them)
    return {
        "rollouts": len(all_of_them),
        "requests": sum(load.total + len(load.failures) for _, load in played),
        "failed_requests": sum(len(load.failures) for _, load in played),
        "bad_models_tried": len(bad),
        "bad_models_served": sum(answers(outcome.revision, load) > 0 for outcome, load in bad),
        "rolled_back_live": kinds[Kind.LIVE],
        "rollback_seconds": round(max(after[True]), 2),
        "rollback_seconds_without_pods": round(max(after[False]), 2),
        "ended_otherwise": states[State.OTHERWISE],
        "deadlocks": states[State.STUCK],
    }
