"""Compares an algorithm with what the real controller did: whether it asks for the same replicas, sync by sync."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelservice_operator.scaling.simulator.hpa import Hpa


@dataclass(frozen=True, slots=True)
class Sync:
    """One time that a controller asked for the metric, and what it did."""

    time: float
    metric: float
    """The sum over all pods that it was told."""
    ready: int
    before: int
    """Replicas that were asked for before."""
    after: int


def differences(hpa: Hpa, syncs: Iterable[Sync]) -> list[str]:
    """Return a sentence for each sync in which the algorithm asks for another number."""
    found = []
    for each in syncs:
        asked = hpa.sync(each.time, each.metric, each.before, each.ready)
        if asked != each.after:
            found.append(
                f"at {each.time:g}s, told {each.metric:g} with {each.before} replicas, {each.ready} of them ready, "
                f"the controller asked for {each.after}, and the algorithm for {asked}"
            )
    return found


def sequence(syncs: Sequence[Sync]) -> list[int]:
    """Return the replicas, one number for each change."""
    sizes = [syncs[0].before, *(each.after for each in syncs)]
    return [size for at, size in enumerate(sizes) if not at or size != sizes[at - 1]]
