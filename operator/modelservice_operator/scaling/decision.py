"""The decision of an autoscaler of engine Builtin: the first rule that speaks, with a sentence that says why.

    decision = decide(policy, memory, sample, now, current)

A pure function: whoever calls it looks at pods and clock, writes `decision.replicas`, and brings `decision.memory`
along next time. A new memory (a restart, another leader) holds replicas until it has seen enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from modelservice_operator.scaling.demand import demand, is_known
from modelservice_operator.scaling.memory import Look, Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelservice_operator.scaling.memory import Sample
    from modelservice_operator.scaling.policy import Bounds, Policy

_AHEAD: Final = 1.0  # seconds that a sample may come from the future: clocks of one machine agree better


class Rule(StrEnum):
    """What decided."""

    ZERO = "Zero"
    BOUNDS = "Bounds"
    SCHEDULE = "Schedule"
    CLOCK = "Clock"
    NO_DATA = "NoData"
    STALE = "Stale"
    LEARNING = "Learning"
    SURGE = "Surge"
    LOAD = "Load"
    LIMITED = "Limited"
    LOADING = "Loading"
    UNREACHABLE = "Unreachable"
    DELAY = "Delay"
    SPARE = "Spare"
    STEADY = "Steady"

    @property
    def is_blind(self) -> bool:
        """Whether replicas are held because of what cannot be seen, which somebody should know."""
        return self in {Rule.CLOCK, Rule.NO_DATA, Rule.STALE, Rule.UNREACHABLE}


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there should be, and why."""

    replicas: int
    rule: Rule
    message: str
    memory: Memory


@dataclass(frozen=True, slots=True)
class _Seen:
    """Everything that a rule may look at."""

    policy: Policy
    bounds: Bounds
    memory: Memory
    now: float
    current: int
    blind: tuple[Rule, str] | None

    @property
    def last(self) -> Look:
        return self.memory.looks[-1]

    @property
    def target(self) -> float:
        """So many requests are meant for each replica now."""
        return target(self.policy, self.memory)

    @property
    def pods(self) -> str:
        """Say what was seen."""
        last = self.last.sample
        told = f"{last.told} of {last.ready} ready pods" if last.told < last.ready else _count(last.told, "ready pod")
        starting = f" and {last.starting} that start" if last.starting else ""
        return f"{told}{starting}, {last.inflight:.4g} requests in flight, {self.target:.4g} meant for each replica"


_Spoken: TypeAlias = "tuple[int, Rule, str] | None"


def target(policy: Policy, memory: Memory) -> float:
    """Return how many requests are meant for each replica: as the policy says, or as was learnt."""
    return policy.target if policy.promise is None else memory.learnt.share * policy.saturation


def decide(policy: Policy, memory: Memory, sample: Sample | None, now: float, current: int) -> Decision:
    """Return how many replicas there should be now; `current` is how many are asked for."""
    blind = _blind(policy, memory, sample, now)
    if blind is None and sample is not None:
        memory = _seeing(policy, memory, sample, current)
    elif blind is not None and blind[0] is Rule.CLOCK:
        memory = Memory(learnt=memory.learnt)
    memory = memory.at(now)
    seen = _Seen(policy, policy.bounds(now), memory, now, current, blind)
    replicas, rule, message = next(spoken for each in RULES if (spoken := each(seen)) is not None)
    if rule in {Rule.SURGE, Rule.LOAD}:
        memory = memory.asking(replicas)  # the delay begins anew, whichever window asked
    if rule is Rule.SPARE:
        memory = memory.lowering(now)
    return Decision(replicas, rule, message, memory)


# -- the rules, in the order in which they are asked


def leaves_zero_alone(seen: _Seen) -> _Spoken:
    """Zero is somebody's choice, and where there is no pod there is nothing to see."""
    if seen.current > 0:
        return None
    return 0, Rule.ZERO, "Zero replicas were asked for, and this engine never leaves zero by itself."


def keeps_the_bounds(seen: _Seen) -> _Spoken:
    """Bounds hold at once, also for who sees nothing."""
    bounds = seen.bounds
    if seen.current in bounds:
        return None
    of = (
        f'of the schedule "{bounds.schedule.cron}" ({bounds.schedule.time_zone})'
        if bounds.schedule
        else "of the service"
    )
    message = f"{seen.current} is outside the bounds {of}, {bounds.min_replicas} to {bounds.max_replicas}."
    return bounds.nearest(seen.current), Rule.SCHEDULE if bounds.schedule else Rule.BOUNDS, message


def holds_while_blind(seen: _Seen) -> _Spoken:
    """What is not seen is neither load nor its absence."""
    if seen.blind is None:
        return None
    rule, message = seen.blind
    return seen.current, rule, message


def learns_first(seen: _Seen) -> _Spoken:
    """One look is no window."""
    if len(seen.memory.looks) > 1:
        return None
    return seen.current, Rule.LEARNING, f"The first look: {seen.pods}."


def answers_a_surge(seen: _Seen) -> _Spoken:
    """A short window is believed when it asks for much more than there is."""
    needed = demand(seen.policy, seen.memory.looks, seen.policy.panic_window)
    if needed < max(seen.policy.panic_factor * seen.current * seen.target, seen.last.needed):
        return None
    return _raised(seen, Rule.SURGE, needed, seen.policy.panic_window)


def follows_the_load(seen: _Seen) -> _Spoken:
    """A little too much is what the rest of each replica is for."""
    needed = seen.last.needed
    if needed <= (1 + seen.policy.tolerance) * seen.current * seen.target:
        return None
    return _raised(seen, Rule.LOAD, needed, seen.policy.stable_window)


def _raised(seen: _Seen, rule: Rule, needed: float, window: float) -> _Spoken:
    wanted = math.ceil(needed / seen.target)
    asks = f"{seen.pods}: over {window:g}s that asks for {_count(wanted, 'replica')}"
    if seen.current == seen.bounds.max_replicas:
        return seen.current, Rule.LIMITED, f"{asks}, and no more than {seen.current} may be."
    if seen.last.sample.starting and not is_known(seen.policy, seen.memory.looks):
        return (
            seen.current,
            Rule.LOADING,
            f"{asks}; pods start still, and how much of that queue they will take is not known.",
        )
    return seen.bounds.nearest(wanted), rule, f"{asks}, and there are {seen.current}."


def waits_for_whom_it_cannot_reach(seen: _Seen) -> _Spoken:
    """A pod that does not tell may be the busiest."""
    last = seen.last.sample
    if last.told >= last.ready:
        return None
    return seen.current, Rule.UNREACHABLE, f"{seen.pods}: replicas are held until all tell."


def takes_spare_away(seen: _Seen) -> _Spoken:
    """Few at a time, after fewer have been enough for long."""
    policy, memory = seen.policy, seen.memory
    wanted = seen.bounds.nearest(seen.last.wanted)
    if wanted >= seen.current:
        return None
    since = seen.last.sample.time - policy.scale_down_delay
    peak = seen.bounds.nearest(max(each.wanted for each in (*memory.after(since), seen.last)))
    spare = f"{seen.pods}: {_count(wanted, 'replica')} would be enough"
    if not memory.reaches(since) or peak >= seen.current:
        return seen.current, Rule.DELAY, f"{spare}, but not yet for {policy.scale_down_delay:g}s."
    if memory.lowered is not None and seen.now - memory.lowered < policy.scale_down_period:
        return (
            seen.current,
            Rule.DELAY,
            f"{spare}, and the last step down was less than {policy.scale_down_period:g}s ago.",
        )
    step = max(1, int(policy.scale_down_step * seen.current))
    return max(peak, seen.current - step), Rule.SPARE, f"{spare}, and {peak} were for {policy.scale_down_delay:g}s."


def is_content(seen: _Seen) -> _Spoken:
    """There is nothing to do."""
    rule = Rule.LOADING if seen.last.sample.starting else Rule.STEADY
    return seen.current, rule, f"{seen.pods}: {_count(seen.current, 'replica')} will do."


RULES: Final[tuple[Callable[[_Seen], _Spoken], ...]] = (
    leaves_zero_alone,
    keeps_the_bounds,
    holds_while_blind,
    learns_first,
    answers_a_surge,
    follows_the_load,
    waits_for_whom_it_cannot_reach,
    takes_spare_away,
    is_content,
)


# -- what can be believed


def _blind(policy: Policy, memory: Memory, sample: Sample | None, now: float) -> tuple[Rule, str] | None:
    """Say why nothing can be concluded, if so."""
    if memory.now is not None and now < memory.now:
        return Rule.CLOCK, f"The clock went back by {memory.now - now:.0f}s: replicas are held, and watched anew."
    if memory.now is not None and now - memory.now > policy.longest_gap:
        gap = f"Nobody has looked for {now - memory.now:.0f}s, or the clock has jumped"
        return Rule.CLOCK, f"{gap}: replicas are held, and watched anew."
    if sample is None or not sample.told:
        ready = _count(sample.ready, "ready pod") if sample else "no pod"
        return Rule.NO_DATA, f"There is no data: {ready} to ask, and none told how many requests are in flight."
    if sample.time > now + _AHEAD:
        return (
            Rule.CLOCK,
            f"The data are from {sample.time - now:.0f}s in the future: replicas are held, and watched anew.",
        )
    if now - sample.time > policy.patience:
        return Rule.STALE, f"The data are {now - sample.time:.0f}s old: replicas are held."
    return None


def _seeing(policy: Policy, memory: Memory, sample: Sample, current: int) -> Memory:
    """Remember a sample with what it asks for; one that was seen before, or is older, adds nothing."""
    if memory.looks and sample.time <= memory.looks[-1].sample.time:
        return memory
    before = memory.looks[-1].sample.time if memory.looks else sample.time
    memory = memory.seeing(Look(sample, current), policy)
    if policy.promise is not None and sample.told == sample.ready:
        memory = replace(memory, learnt=memory.learnt.after(sample, sample.time - before, policy.promise))
    needed = demand(policy, memory.looks, policy.stable_window)
    wanted = math.ceil(needed / target(policy, memory))
    return memory.asking(max(wanted, current) if sample.told < sample.ready else wanted, needed)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
