"""How many pods each revision has on the way from one to the other, and whether there is room for them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from modelservice_operator.api.types import Capacity
from modelservice_operator.rollout.decision import Mark, Phase, Plan
from modelservice_operator.rollout.proof import must_prove
from modelservice_operator.rollout.room import fits_in_place
from modelservice_operator.rollout.weights import pods_at

if TYPE_CHECKING:
    from modelservice_operator.api.types import RolloutStep
    from modelservice_operator.rollout.situation import Entry, Situation


def makes_room(seen: Situation, entry: Entry) -> bool:
    """Tell whether an old pod goes before the next new one comes."""
    if seen.rollout.capacity is Capacity.AUTO:
        return entry.makes_room and seen.replicas > 1
    return seen.rollout.capacity is Capacity.REPLACE


def most(seen: Situation, entry: Entry) -> int:
    """How many pods there may be in all while a revision comes in."""
    return seen.replicas if makes_room(seen, entry) else seen.replicas + 1


def least(seen: Situation, entry: Entry) -> int:
    """How many pods must be available meanwhile."""
    return seen.replicas - 1 if makes_room(seen, entry) else seen.replicas


def wants_room(seen: Situation, entry: Entry, *, is_leaving: bool = False) -> Plan | None:
    """Return what becomes of a revision on its way in, or out, when the next pod of the growing side has no place."""
    gaining, losing = (seen.incumbent, entry) if is_leaving else (entry, seen.incumbent)
    load = seen.workload(gaining.name)
    if seen.rollout.capacity is not Capacity.AUTO or entry.makes_room or load.unplaced_since is None:
        return None
    wait = f"Waiting for room for a pod of revision {gaining.name}."
    if seen.replicas == 1:
        return Plan(
            Phase.WAITING, f"{wait} The only pod would have to make it: spec.rollout.capacity: Replace lets it."
        )
    if not fits_in_place(gaining.template, losing.template):
        return Plan(Phase.WAITING, f"{wait} It asks for more than a pod of revision {losing.name} would free.")
    left = seen.rollout.capacity_patience.timedelta - (seen.now - load.unplaced_since)
    if left > timedelta(0):
        message = f"{wait} After {seen.rollout.capacity_patience} a pod of revision {losing.name} makes it."
        return Plan(Phase.WAITING, message, again=left)
    message = f"A pod of revision {losing.name} makes room for revision {gaining.name}."
    return Plan(Phase.WAITING, message, Mark(entry.name, entry.step, makes_room=True))


def pods(seen: Situation, entry: Entry, step: RolloutStep | None) -> tuple[int, int]:
    """Return how many pods of the new and of the old revision there are at a step; None: at the end."""
    return pods_at(step.weight.share, seen.replicas, most(seen, entry)) if step is not None else (seen.replicas, 0)


def shift(
    seen: Situation, losing: str, gaining: str, goal: tuple[int, int] | None = None, *, may_gain: bool = True
) -> dict[str, int]:
    """Return the pods of both sides so that what serves plus what is kept holds the promise, with one pod extra.

    `goal`: how many the gaining and the losing side are to have in the end.
    """
    lose, gain = seen.workload(losing), seen.workload(gaining)
    new, old = goal if goal is not None else (seen.replicas, 0)
    newcomer = seen.known(losing if gaining == seen.incumbent.name else gaining)
    floor, ceiling = least(seen, newcomer), most(seen, newcomer)
    keep = max(0, floor - serving(seen, gaining))
    # The promise may have grown, or the gaining side lost pods: the losing side helps as far as the extra pod allows.
    spare = min(ceiling - gain.occupied, allowed(seen, losing))
    kept = keep if lose.wanted >= keep else max(lose.wanted, min(keep, spare))
    kept = max(kept, min(old, max(lose.wanted, spare)))
    room = ceiling - max(lose.occupied, kept)
    grown = min(allowed(seen, gaining), max(gain.wanted, room)) if may_gain else min(gain.wanted, seen.replicas)
    return {losing: kept, gaining: min(grown, max(new, floor - serving(seen, losing)))}


def is_blue_green(seen: Situation, entry: Entry) -> bool:
    """Tell whether all pods of a revision come before any of the old ones goes, which takes room."""
    is_asked_for = len(seen.rollout.steps) == 1 and seen.rollout.steps[0].weight.share == 1
    return is_asked_for and must_prove(seen, entry) and not makes_room(seen, entry)


def kept_previous(seen: Situation) -> tuple[dict[str, int], timedelta | None]:
    """Return the idle pods of the revision before that stay for a while, unless anything lacks room."""
    stable, previous = seen.incumbent, seen.previous
    left = seen.rollout.keep_previous.timedelta - seen.since(stable.decided_time)
    lacks_room = any(each.waits_for_capacity for load in seen.workloads.values() for each in load.troubles)
    if previous is None or left <= timedelta(0) or lacks_room or not seen.workload(previous.name).wanted:
        return {}, None
    return {previous.name: min(seen.workload(previous.name).wanted, seen.replicas)}, left


def serving(seen: Situation, name: str) -> int:
    """Pods of a revision that count for the promise: available and not about to be given up."""
    workload = seen.workload(name)
    return min(workload.available, workload.wanted, seen.replicas)


def allowed(seen: Situation, name: str) -> int:
    """How many pods a revision may have: one until its first fetch has pinned the model, so that all run the same.

    A fetch of the user's own may end without saying what it found; and no pod that runs goes because a pin was lost.
    """
    workload = seen.workload(name)
    if seen.known(name).pinned or workload.fetched is not None:
        return seen.replicas
    return min(seen.replicas, max(1, workload.wanted))
