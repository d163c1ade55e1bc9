"""Histories of a service with objectives, and what its alerts must make of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from modelservice_operator.api import ModelServiceSpec, parse
from modelservice_operator.slo import Links, rule_groups
from modelservice_operator.slo.burn import MINUTES, Tier, tiers
from promtool import Group, History

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400

LINKS: Final = Links(
    "https://example.com/runbooks/{alert}",
    "https://example.com/d/modelservice?var-namespace={namespace}&var-name={name}",
)
OWN: Final = 'namespace="ml",modelservice="m"'
SEEN: Final = 'namespace="ml",name="m"'

Phases = tuple[tuple[int, float], ...]
"""Seconds, and how much a counter grows in each."""


def promising(**spec: object) -> ModelServiceSpec:
    """Return the spec of the service that all histories are about."""
    return parse({"metadata": {"name": "m"}, "spec": {"model": {"uri": "pvc://models/m"}} | spec})


def slo(target: str = "99.9%", *, window: str = "30d", threshold: str = "", latency: str = "99%") -> dict[str, Any]:
    """Return `spec.slo` with one objective of availability, and one of latency where a threshold is given."""
    more = [{"name": "latency", "target": latency, "threshold": threshold}] if threshold else []
    return {"window": window, "objectives": [{"name": "availability", "target": target}, *more]}


def groups(spec: ModelServiceSpec) -> list[Group]:
    """Return the rules of the service."""
    return rule_groups("ml", "m", spec, LINKS)


# -- series


def counter(step: int, *phases: tuple[int, float]) -> str:
    """Write the values of a counter that is 0 at first."""
    value, parts = 0.0, ["0"]
    for seconds, speed in phases:
        if times := seconds // step:
            grown = speed * step
            parts.append(f"{value + grown:.9g}+{grown:.9g}x{times - 1}")
            value += grown * times
    return " ".join(parts)


def gauge(step: int, *phases: tuple[int, float]) -> str:
    """Write the values of a gauge, up to and with the end of the last phase."""
    parts = [f"{value:g}x{times - 1}" for length, value in phases if (times := length // step)]
    return " ".join([*parts, f"{phases[-1][1]:g}"])


def requests(step: int, good: Phases, bad: Phases = (), *, pod: str = "a") -> dict[str, str]:
    """Return what a pod counts of its requests; every code is there from the beginning, as the server has it."""
    seconds = max(sum(length for length, _ in phases) for phases in (good, bad))

    def of(code: int, phases: Phases) -> tuple[str, str]:
        rest = seconds - sum(length for length, _ in phases)
        series = f'model_server_requests_total{{{OWN},pod="{pod}",code="{code}"}}'
        return series, counter(step, *phases, (rest, 0))

    return dict([of(200, good), of(429, ()), of(500, bad), of(503, ())])


def drifting(pod: str = "a", *, seconds: int = 2 * HOUR, before: float = 0.02, **columns: float) -> dict[str, str]:
    """Return how far columns of a pod's input have moved; for the first hour they have not."""
    return {
        f'model_server_input_drift_psi{{{OWN},pod="{pod}",input="x",column="{column}"}}': gauge(
            15, (HOUR, before), (seconds - HOUR, psi)
        )
        for column, psi in columns.items()
    }


def then(*lives: dict[str, str]) -> dict[str, str]:
    """Return the same pod's counters over several lives; each begins anew, the next scrape after the last."""
    return {name: " ".join(life[name] for life in lives) for name in lives[0]}


def later(seconds: int, series: dict[str, str], step: int = 15) -> dict[str, str]:
    """Return series that begin later."""
    return {name: f"_x{seconds // step} {values}" for name, values in series.items()}


def gone(series: dict[str, str]) -> dict[str, str]:
    """Return series that end when their target does."""
    return {name: f"{values} stale" for name, values in series.items()}


def durations(step: int, every: Phases, within: Phases, *, bound: float, pod: str = "a") -> dict[str, str]:
    """Return two buckets of the histogram of a pod's requests: those within a bound, and all."""
    name = "model_server_request_duration_seconds_bucket"
    return {
        f'{name}{{{OWN},pod="{pod}",le="{bound}"}}': counter(step, *within),
        f'{name}{{{OWN},pod="{pod}",le="+Inf"}}': counter(step, *every),
    }


def told(step: int, seconds: int, *, phase: str = "Settled", **gauges: Phases) -> dict[str, str]:
    """Return what the operator tells of a service that is well, but for what is given."""
    well: dict[str, Phases] = {
        "replicas_wanted": ((seconds, 2),),
        "replicas_ready": ((seconds, 2),),
        "promoted": ((seconds, 1),),
        'condition{condition="Available"}': ((seconds, 1),),
        **({f'rollout_phase{{phase="{phase}"}}': ((seconds, 1),)} if phase else {}),
    }
    series = {}
    for name, phases in (well | gauges).items():
        metric, _, label = name.removesuffix("}").partition("{")
        series[f"modelservice_{metric}{{{SEEN}{',' if label else ''}{label}}}"] = gauge(step, *phases)
    return series


# -- stories


@dataclass(frozen=True)
class Outage:
    """All requests fail, after steady traffic without failures, at one target."""

    target: str
    window: str = "30d"

    @property
    def spec(self) -> ModelServiceSpec:
        """The service."""
        return promising(slo=slo(self.target, window=self.window))

    @property
    def tier(self) -> Tier:
        """The fastest tier that can fire."""
        assert self.spec.slo is not None
        [objective] = self.spec.slo.objectives
        return next(tier for tier in tiers(self.spec.slo.window, objective.target) if tier.can_fire)

    @property
    def looks(self) -> tuple[int, int]:
        """Seconds from one scrape, and from one evaluation of that tier, to the next: a minute in long histories."""
        return (15, 15) if self.tier.long == "1h" else (60, 60)

    @property
    def begins(self) -> int:
        """When requests begin to fail: when the tier's long window has seen as much as it can."""
        return 60 * MINUTES[self.tier.long]

    @property
    def ends(self) -> int:
        """When requests are answered again: five minutes after the tier must have fired."""
        return self.begins + (int(self.latest) // 300 + 2) * 300

    def history(self) -> History:
        """Return it: forty requests a second, and twenty minutes more once all is well again."""
        step, evaluation = self.looks
        begins, lasts, after = self.begins, self.ends - self.begins, 1200
        series = requests(step, ((begins, 40), (lasts, 0), (after, 40)), ((begins, 0), (lasts, 40), (after, 0)))
        return History(series | told(step, self.ends + after), self.ends + after, step, evaluation)

    @property
    def latest(self) -> float:
        """For how long the outage may last until its tier fires: the formula, two evaluations and one scrape.

        A day and more is summed up from counts of five minutes, which are so much older.
        """
        step, evaluation = self.looks
        summed = 300 if self.tier.long in ("1d", "3d") else 0
        return self.tier.outage_seconds + 2 * evaluation + step + summed


OUTAGES: Final = tuple(
    Outage(*each)
    for each in (
        ("99.999%",),
        ("99.99%",),
        ("99.9%",),
        ("99.9%", "28d"),
        ("99.9%", "7d"),
        ("99.5%",),
        ("99%",),
        ("95%",),
        ("90%",),
        ("80%",),
    )
)


@dataclass(frozen=True)
class Story:
    """A history, and which alerts fire in it: their names, those about budgets with the long window."""

    series: Mapping[str, str]
    seconds: int
    fires: frozenset[str] = frozenset()
    spec: ModelServiceSpec = field(default_factory=lambda: promising(slo=slo()))
    step: int = 15
    """Seconds from one scrape to the next."""

    def history(self) -> History:
        """Return what Prometheus sees. That rules are looked at less often than they should be, costs seconds only."""
        return History(self.series, self.seconds, self.step, 30 if self.step == 15 else 300)


LATENCY: Final = promising(slo=slo(threshold="300ms"))
WATCHED: Final = promising(slo=slo(), monitoring={"drift": {}})


def quiet() -> dict[str, Story]:
    """Return histories in which nobody is to be told anything."""
    day = told(60, DAY)
    hours = told(15, 2 * HOUR)
    steady: Phases = ((2 * HOUR, 10),)
    once: Phases = ((HOUR, 0), (15, 1 / 15), (HOUR - 15, 0))
    at_times: Phases = ((6 * HOUR - 60, 0), (60, 1 / 60)) * 4

    def never_let_in(seconds: int, phase: str) -> dict[str, str]:
        return told(15, seconds, phase=phase, replicas_ready=((seconds, 0),), promoted=((seconds, 0),))

    return {
        "a day without a failure": Story(requests(60, ((DAY, 10),)) | day, DAY, step=60),
        "a day within the budget": Story(requests(60, ((DAY, 10),), ((DAY, 0.005),)) | day, DAY, step=60),
        "a day without a request": Story(requests(60, ((DAY, 0),)) | day, DAY, step=60),
        "four failures a day in little traffic": Story(requests(60, ((DAY, 1 / 60),), at_times) | day, DAY, step=60),
        "one failure in little traffic": Story(requests(15, ((2 * HOUR, 1 / 600),), once) | hours, 2 * HOUR),
        "one failure, and nothing else": Story(requests(15, ((2 * HOUR, 0),), once) | hours, 2 * HOUR),
        "no request any more": Story(requests(15, ((HOUR, 10), (HOUR, 0))) | hours, 2 * HOUR),
        "inputs move for a while and come back": Story(
            requests(15, steady)
            | {name: f"{values} 0.02x160" for name, values in drifting(seconds=HOUR + 1200, age=0.4).items()}
            | hours,
            2 * HOUR,
            spec=WATCHED,
        ),
        "inputs move less than is bad, on most pods": Story(
            requests(15, steady) | drifting(age=0.3) | drifting("b", age=0.15) | hours, 2 * HOUR, spec=WATCHED
        ),
        "a pod restarts": Story(then(requests(15, ((HOUR, 10),)), requests(15, ((HOUR, 10),))) | hours, 2 * HOUR),
        "a new pod takes over": Story(
            requests(15, ((HOUR, 10),)) | later(HOUR, requests(15, ((HOUR, 10),), pod="b")) | hours, 2 * HOUR
        ),
        "a roll to another threshold": Story(
            requests(15, steady)
            | durations(15, ((HOUR, 10),), ((HOUR, 9),), bound=0.25)
            | later(HOUR, durations(15, ((HOUR, 10),), ((HOUR, 10),), bound=0.3, pod="b"))
            | hours,
            2 * HOUR,
            spec=LATENCY,
        ),
        "a slow minute": Story(
            requests(15, steady) | durations(15, steady, ((HOUR, 10), (30, 0), (HOUR - 30, 10)), bound=0.3) | hours,
            2 * HOUR,
            spec=LATENCY,
        ),
        "the first pod takes long to load": Story(
            later(25 * MINUTE, requests(15, ((HOUR, 10),))) | never_let_in(25 * MINUTE, "Starting"),
            25 * MINUTE,
        ),
        "made paused": Story(never_let_in(HOUR, "Paused"), HOUR),
        "made with a spec that is refused": Story(never_let_in(HOUR, ""), HOUR),
        "scaled to zero, and up again": Story(
            gone(requests(15, ((HOUR, 10),)))
            | told(
                15,
                2 * HOUR,
                replicas_wanted=((HOUR, 2), (HOUR - 300, 0), (300, 2)),
                replicas_ready=((HOUR, 2), (HOUR, 0)),
            ),
            2 * HOUR,
        ),
    }


def loud() -> dict[str, Story]:
    """Return histories in which somebody is to be told, and of what."""
    hours = told(15, 2 * HOUR)
    steady: Phases = ((2 * HOUR, 10),)
    well = requests(15, steady)

    def burning(rate: float, *fires: str) -> Story:
        """The budget of 99.9 % has been used up so many times too fast all day."""
        failures = rate / 1000 * 10
        series = requests(60, ((DAY, 10 - failures),), ((DAY, failures),)) | told(60, DAY)
        return Story(series, DAY, burns(*fires), step=60)

    def sick(*fires: str, seconds: int = HOUR, phase: str = "Settled", **gauges: Phases) -> Story:
        """Requests are answered, but the operator or the server tells of trouble."""
        return Story(
            requests(15, ((seconds, 10),)) | told(15, seconds, phase=phase, **gauges), seconds, frozenset(fires)
        )

    return {
        "a burn just above the budget": burning(1.2, "3d"),
        "a slow burn": burning(4, "1d", "3d"),
        "a burn that pages after hours": burning(8, "6h", "1d", "3d"),
        "a fast burn": burning(20, "1h", "6h", "1d", "3d"),
        "all of little traffic fails": Story(
            requests(15, ((HOUR, 1 / 60), (HOUR, 0)), ((HOUR, 0), (HOUR, 1 / 60))) | hours,
            2 * HOUR,
            burns("1h", "6h", "1d", "3d"),
        ),
        "half of the requests fail, where only latency is promised": Story(
            requests(15, ((HOUR, 10), (HOUR, 5)), ((HOUR, 0), (HOUR, 5.1)))
            | durations(15, steady, steady, bound=0.3)
            | hours,
            2 * HOUR,
            frozenset({"ModelServiceFailing"}),
            spec=promising(slo={"objectives": [{"name": "latency", "target": "99%", "threshold": "300ms"}]}),
        ),
        "all answers are slow": Story(
            well | durations(15, steady, ((HOUR, 10), (HOUR, 0)), bound=0.3) | hours,
            2 * HOUR,
            burns("1h", "6h", "1d", "3d"),
            spec=LATENCY,
        ),
        "no pod is ready any more": Story(
            gone(requests(15, ((HOUR, 10),))) | told(15, HOUR + 600, replicas_ready=((HOUR, 2), (600, 0))),
            HOUR + 600,
            frozenset({"ModelServiceFailing"}),
        ),
        "paused, and no pod is ready any more": Story(
            gone(requests(15, ((HOUR, 10),)))
            | told(15, HOUR + 600, replicas_ready=((HOUR, 2), (600, 0)), phase="Paused"),
            HOUR + 600,
            frozenset({"ModelServiceFailing"}),
        ),
        "nothing is scraped": Story(hours, 2 * HOUR, frozenset({"ModelServiceMetricsAbsent"})),
        "a pod lacks": sick("ModelServiceReplicasMissing", replicas_ready=((HOUR, 1),)),
        "a rollout stands still": sick("ModelServiceRolloutStuck", phase="Rolling"),
        "no GPU is free": sick(
            "ModelServiceWaitingForCapacity", phase="Rolling", **{'condition{condition="Scheduled"}': ((HOUR, 0),)}
        ),
        "a new revision exits again and again": sick(
            "ModelServiceCrashLooping",
            phase="Rolling",
            **{'ready_reason{reason="CrashLoop"}': ((1200, 1),)},
            seconds=1200,
        ),
        "a server restarts again and again": Story(
            then(*[requests(15, ((600, 10),))] * 4)
            | {f'model_server_worker_restarts_total{{{OWN},pod="a"}}': counter(15, (2400, 0))}
            | told(15, 2400),
            2400,
            frozenset({"ModelServiceCrashLooping"}),
        ),
        "a model loads for nine minutes of ten": Story(
            well
            | {
                f'model_server_model_load_seconds{{{OWN},pod="a",phase="{phase}"}}': gauge(15, (2 * HOUR, seconds))
                for phase, seconds in {"fetch": 900, "load": 500, "warm_up": 40}.items()
            }
            | hours,
            2 * HOUR,
            frozenset({"ModelServiceSlowLoad"}),
        ),
        "the queue is full at times": Story(
            well
            | {f'model_server_rejected_total{{{OWN},pod="a",reason="queue_full"}}': counter(15, (2 * HOUR, 0.001))}
            | hours,
            2 * HOUR,
            frozenset({"ModelServiceQueueSaturated"}),
        ),
        "a column of the inputs has moved on one of two pods far, on both together enough": Story(
            well | drifting(age=0.4, height=0.05) | drifting("b", age=0.2, height=0.04) | hours,
            2 * HOUR,
            frozenset({"ModelServiceInputDrift"}),
            spec=WATCHED,
        ),
    }


def burns(*windows: str) -> frozenset[str]:
    """Name the alerts about budgets by their long windows."""
    return frozenset(f"ModelServiceErrorBudgetBurn {window}" for window in windows)
