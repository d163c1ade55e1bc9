"""Who takes part, with which settings, and who wins: pure but for the time that it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Final, TypeAlias

from modelservice_operator.scaling.simulator import hpa, kpa
from modelservice_operator.scaling.simulator.autoscalers import Builtin, Fixed
from modelservice_operator.scaling.simulator.oracle import oracle
from modelservice_operator.scaling.simulator.replay import replay
from modelservice_operator.scaling.simulator.service import ATTAINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cases import Case
    from modelservice_operator.scaling.simulator.service import Autoscaler, Service

Make: TypeAlias = "Callable[[Service], Autoscaler]"


@dataclass(frozen=True, slots=True)
class Setting:
    """A policy with its settings."""

    policy: str
    words: str
    make: Make
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a setting made of a trace, the mean over some replays of it."""

    attainment: float
    replica_hours: float
    started: float

    @property
    def attains(self) -> bool:
        """Whether enough requests were within the objective."""
        return self.attainment >= ATTAINED


SHARES: Final = (0.6, 0.7, 0.8, 0.9, 1.0)
DEFAULT_SHARE: Final = 0.7
"""Where a policy's documentation names no target: KPA's own default, and Builtin's."""
DEFAULT_CPU: Final = 0.8
"""An HPA without metrics aims at 80% of the CPU (autoscaling/v2, HorizontalPodAutoscalerSpec.metrics)."""


def settings() -> list[Setting]:
    """Return the peers' settings: their documented defaults, and the grid that they are tuned over."""
    found = []
    for policy, make, shares, default in (
        ("HPA on in-flight", hpa.on_inflight, SHARES, DEFAULT_SHARE),
        ("HPA on CPU", hpa.on_cpu, SHARES, DEFAULT_CPU),
        ("KEDA", hpa.keda, SHARES, DEFAULT_SHARE),
    ):
        for share in shares:
            for seconds in (60.0, 120.0, 300.0):
                words = f"{share:.0%}, stabilized {seconds:g}s"
                is_default = (share, seconds) == (default, hpa.STABILIZATION_SECONDS)
                found.append(Setting(policy, words, _hpa(make, share, seconds), is_default))
    for share in SHARES:
        for seconds in (0.0, 60.0, 300.0):
            words = f"{share:.0%}, scale-down-delay {seconds:g}s"
            found.append(Setting("KPA", words, _kpa(share, seconds), (share, seconds) == (DEFAULT_SHARE, 0.0)))
    return found


def _hpa(make: Callable[..., Autoscaler], share: float, seconds: float) -> Make:
    return lambda service: make(service, share=share, stabilization=seconds)


def _kpa(share: float, seconds: float) -> Make:
    return lambda service: kpa.on_concurrency(service, share=share, scale_down_delay=seconds)


BUILTIN: Final = Setting("Builtin", "as shipped", Builtin.shipped, is_default=True)


REPLAYS: Final = 3
"""Chance says which replica gets a request and how long one loads; who just attains it may owe it to that."""


def outcome(case: Case, make: Make) -> Outcome:
    """Replay a trace, each time with other chances, the same ones for all settings."""
    found = [
        replay(case.trace, case.service, make(case.service), replicas=case.replicas, seed=seed)
        for seed in range(REPLAYS)
    ]
    return Outcome(
        fmean(each.attainment for each in found),
        fmean(each.replica_hours for each in found),
        fmean(each.started for each in found),
    )


def of_oracle(case: Case) -> Outcome:
    """Return the cheapest plan that attains the objective, or the one that comes nearest."""
    plans = (oracle(case.trace, case.service, share) for share in SHARES)
    return _best(outcome(case, lambda _, plan=plan: plan) for plan in plans)


def of_fixed(case: Case) -> Outcome:
    """Return the fewest replicas that attain the objective when they never change, or the most that there may be."""
    low, high = 1, case.service.max_replicas
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _fixed(case, middle).attains else (middle + 1, high)
    return _fixed(case, low)


def _fixed(case: Case, replicas: int) -> Outcome:
    return outcome(replace(case, replicas=replicas), lambda _: Fixed(replicas))


def _best(outcomes: Iterable[Outcome]) -> Outcome:
    found = [*outcomes]
    attaining = [each for each in found if each.attains]
    if attaining:
        return min(attaining, key=lambda each: each.replica_hours)
    return max(found, key=lambda each: each.attainment)


def tuned(outcomes: Mapping[Setting, list[Outcome]], oracles: list[Outcome]) -> list[Setting]:
    """Return each peer's best setting, one for all traces: it misses the fewest objectives, then costs least.

    The cost is the mean over the traces of what it takes beside the oracle, so that a long trace counts no more than
    others.
    """
    policies = dict.fromkeys(each.policy for each in outcomes)

    def cost(setting: Setting) -> tuple[int, float]:
        found = outcomes[setting]
        beside = fmean(each.replica_hours / best.replica_hours for each, best in zip(found, oracles, strict=True))
        return sum(not each.attains for each in found), beside

    return [min((each for each in outcomes if each.policy == policy), key=cost) for policy in policies]


def cheapest(found: Mapping[Setting, Outcome]) -> tuple[Setting, Outcome] | None:
    """Return who attains the objective at the least cost; None: nobody does."""
    attaining = [(setting, each) for setting, each in found.items() if each.attains]
    return min(attaining, key=lambda one: one[1].replica_hours, default=None)
