"""Lives many services at once, each with faults of its own, and compares every one with a life without faults.

A fault at a write that the life turns out not to make (how often a status is written depends on timing) is not counted:
what counts is which (step, write, fault) were met.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faults import report
from faults.proxy import Fault, Write
from faults.state import State, differences, states, statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from faults.life import Step
    from faults.world import World

_PATTERNS = 3
_FAULTS_PER_STEP = 3
_DEATHS_PER_STEP = 1  # a death is everybody's: lives that die at the same time share it
_NAMESPACES_AT_ONCE = 48
_FEW = 20  # lives
_NO_WRITE = "no write #1"  # a step in which the operator need not write; what can break are its watches

Triple = tuple[Write, Fault]


@dataclass
class Found:
    """What a sweep has seen."""

    met: set[Triple] = field(default_factory=set)
    divergences: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)


@dataclass
class Pattern:
    """The life without faults."""

    life: Sequence[Step]
    states: dict[str, State]
    writes: list[Write]


async def pattern(world: World, life: Sequence[Step]) -> Pattern:
    """Live some lives without faults; they must be alike, and name the writes that can go wrong."""
    namespaces = [f"pattern-{number}" for number in range(_PATTERNS)]
    await world.admin.namespaces(namespaces)
    settled: dict[str, State] = {}
    for step in life:
        report.say(f"pattern: {step.name}")
        world.proxy.begin(step.name, namespaces)
        await step.take(world.admin, namespaces)

        def done(found: dict[str, State], step: Step = step) -> bool:
            own = [found.get(namespace, {}) for namespace in namespaces]
            return not any(own) if step.leaves_nothing else all(map(step.ends, own))

        found = await world.until(done)
        if found is None:
            stuck = statuses((await states(world.admin)).get(namespaces[0], {}))
            raise AssertionError(f"a life without faults gets stuck at {step.name}: {stuck}\n{world.words()}")
        own = [found.get(namespace, {}) for namespace in namespaces]
        for other in own[1:]:
            assert other == own[0], f"{step.name}: two lives without faults differ: {differences(other, own[0])}"
        settled[step.name] = own[0]
    writes = dict.fromkeys(write for namespace, write in world.proxy.writes if namespace in namespaces)
    silent = {step.name for step in life} - {write.step for write in writes}
    return Pattern(life, settled, [*writes, *(Write(step, _NO_WRITE) for step in sorted(silent))])


def triples(known: Pattern) -> list[Triple]:
    """Return every fault at every write."""
    return [
        (write, fault)
        for write, fault in itertools.product(known.writes, Fault)
        if not write.name.endswith(_NO_WRITE) or fault in _ON_WATCHES
    ]


_ON_WATCHES = (Fault.CUT, Fault.GONE, Fault.LOST, Fault.REPEATED, Fault.LATE_CHILDREN, Fault.LATE_SERVICES)


def lives(chosen: Iterable[Triple], *, per_step: int) -> list[list[Triple]]:
    """Spread triples over as few lives as possible: at most so many faults per step, each at another write."""
    found: list[list[Triple]] = []
    places: dict[str, list[int]] = defaultdict(list)  # by step: how many faults each life has in it
    for write, fault in chosen:
        taken = places[write.step]
        for number in itertools.count():
            if number == len(found):
                found.append([])
            taken.extend([0] * (number + 1 - len(taken)))
            if taken[number] < per_step and all(write != other for other, _ in found[number]):
                found[number].append((write, fault))
                taken[number] += 1
                break
    return found


async def live(world: World, known: Pattern, planned: Sequence[Sequence[Triple]], batch: str, found: Found) -> None:
    """Live all these lives at once, and note whatever comes out differently."""
    plans = {f"{batch}-{number}": dict(plan) for number, plan in enumerate(planned)}
    await world.admin.namespaces(list(plans))
    world.proxy.hits.clear()
    for step in known.life:
        report.say(f"{batch}: {len(plans)} lives, {step.name}")
        await world.proxy.keep_lists()
        world.proxy.begin(step.name, plans)
        for namespace, plan in plans.items():
            world.proxy.plans[namespace] = {write: fault for write, fault in plan.items() if write.step == step.name}
        await step.take(world.admin, plans)
        for namespace, plan in plans.items():
            write = Write(step.name, _NO_WRITE)
            if write in plan:
                await world.proxy.meet(write, plan[write], namespace)
        expected = known.states[step.name]

        def done(seen: dict[str, State], expected: State = expected) -> bool:
            return all(seen.get(namespace, {}) == expected for namespace in plans)

        if await world.until(done) is None:
            for lost in await _note(world, step, plans, expected, found):
                del plans[lost]
    found.met |= world.proxy.hits


async def _note(
    world: World, step: Step, plans: dict[str, dict[Write, Fault]], expected: State, found: Found
) -> list[str]:
    """Say which lives came out differently, and return them: they are over; the others go on."""
    now = await states(world.admin)
    wrong = [namespace for namespace in plans if now.get(namespace, {}) != expected]
    if not wrong:
        found.divergences.append(f"{step.name}: the operator does not stop writing: {world.proxy.writes[-20:]}")
    for namespace in wrong:
        met = [f"{write} ({fault.value})" for (at, write), fault in plans[namespace].items() if at == step.name]
        lines = differences(now.get(namespace, {}), expected)
        story = f"{namespace}, {step.name}, after faults at {'; '.join(met) or 'nothing'}: " + "; ".join(lines)
        (found.orphans if step.leaves_nothing else found.divergences).append(story)
        report.say(story)
    return wrong


async def sweep(
    world: World, life: Sequence[Step], *, share: float, share_of_deaths: float | None = None, seed: int = 1
) -> Found:
    """Meet a share of all triples of each fault, 1: all of them, each once. Of those that kill it may be another."""
    known = await pattern(world, life)
    chance = random.Random(seed)  # noqa: S311 (no secret)
    every = triples(known)
    chosen: list[Triple] = []
    for fault in Fault:
        own = [each for each in every if each[1] is fault]
        own_share = share_of_deaths if fault.crashes and share_of_deaths is not None else share
        chosen += chance.sample(own, math.ceil(len(own) * own_share))
    report.say(f"{len(chosen)} of {len(every)} triples: {len(known.writes)} writes, {len(Fault)} faults")
    found = Found()
    # Deaths disturb everyone, so those who die live together; those who die at one write next to each other.
    deaths = [each for each in every if each[1].crashes and each in chosen]
    faults = [each for each in chosen if not each[1].crashes]
    chance.shuffle(faults)
    planned = {
        "crash": lives(deaths, per_step=_DEATHS_PER_STEP),
        "fault": lives(faults, per_step=_FAULTS_PER_STEP),
    }
    if len(planned["crash"]) < _FEW:  # a few lives stand some disturbance, and take half the time
        planned = {"sample": [life for group in planned.values() for life in group]}
    for name, group_lives in planned.items():
        for first in range(0, len(group_lives), _NAMESPACES_AT_ONCE):
            part = group_lives[first : first + _NAMESPACES_AT_ONCE]
            await live(world, known, part, f"{name}-{first}", found)
    return found


def judge(found: Found, deaths: int) -> None:
    """Tell what a sweep has found, and hold it to what must hold."""
    report.tell(
        injection_points=len(found.met),
        divergences=len(found.divergences),
        orphans=len(found.orphans),
        deaths=deaths,
    )
    assert not found.divergences
    assert not found.orphans
