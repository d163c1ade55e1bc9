"""Engine Builtin of spec.autoscaling: decides after every look at the pods, and wakes a service that is to change.

What is decided is the matter of `scaling`, how pods are looked at that of `readings`; who writes is `reconcile`.
Nothing of it is kept elsewhere: who has just begun to decide holds replicas until it has seen enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from modelservice_operator import names
from modelservice_operator.api.reasons import ConditionType, Reason
from modelservice_operator.api.types import ObjectiveName, ScalingEngine
from modelservice_operator.engine.store import Key
from modelservice_operator.monitoring.exposition import Snapshot
from modelservice_operator.monitoring.readings import Counted, increase
from modelservice_operator.monitoring.targets import targets
from modelservice_operator.rollout.gates import SATURATION, number
from modelservice_operator.scaling import TARGET_SHARE, Learnt, Memory, Policy, Promise, Rule, Sample, Schedule, decide
from modelservice_operator.scaling.learning import LEAST, MOST
from modelservice_operator.slo.metrics import metrics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from modelservice_operator.monitoring.monitored import Judgement
    from modelservice_operator.monitoring.targets import Target
    from modelservice_operator.observe import Seen
    from modelservice_operator.readings import Look, Readings
    from modelservice_operator.scaling import Decision

Body = dict[str, Any]

_PATIENCE_SECONDS: Final = 30.0  # a pod that ends tells nothing until it is known that it is gone
_MOST_TOLD: Final = 3
_SEEN_IN_PODS: Final = {Reason.SCALING, Reason.NO_METRICS, Reason.SCALED_TO_ZERO}
_ACTS_OF_PEOPLE: Final = {"kubectl-edit", "kubectl-patch"}  # once, as `kubectl scale`: no manifest


def policy_of(seen: Seen) -> Policy | None:
    """Return what spec.autoscaling comes to, whatever its engine; None: there is none, or no target is known."""
    spec, target = seen.spec.autoscaling if seen.spec is not None else None, _target(seen)
    if spec is None or target is None:
        return None
    return Policy(
        target=target,
        promise=_promise(seen) if spec.inflight_per_replica is None else None,
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        schedules=tuple(
            Schedule(each.cron, each.time_zone, each.min_replicas, each.max_replicas) for each in spec.schedules
        ),
        scale_down_delay=spec.scale_down_delay.timedelta.total_seconds(),
    )


def _target(seen: Seen) -> float | None:
    spec, stable = seen.spec.autoscaling if seen.spec is not None else None, seen.situation.stable
    if spec is not None and spec.inflight_per_replica is not None:
        return float(spec.inflight_per_replica)
    measured = number(stable.measured.get(SATURATION, "")) if stable is not None else None
    return TARGET_SHARE * float(measured) if measured is not None and measured > 0 else None


def _promise(seen: Seen) -> Promise | None:
    """Return what is promised of the latency."""
    slo = seen.spec.slo if seen.spec is not None else None
    for each in slo.objectives if slo is not None else ():
        if each.name is ObjectiveName.LATENCY and each.threshold is not None:
            return Promise(each.threshold.seconds, 1 - float(each.target.share))
    return None


def _learnt_before(seen: Seen) -> Learnt:
    """Return what status says was learnt: another leader, or the same one started anew, goes on from there."""
    share = number(((seen.service.get("status") or {}).get("autoscaling") or {}).get("share", ""))
    return Learnt(max(LEAST, min(MOST, float(share)))) if share is not None else Learnt()


def writer_of_replicas(service: Body) -> str:
    """Return who has `spec.replicas` in a manifest; empty: nobody.

    Autoscalers, `kubectl scale` and the operator write it through /scale, and what is written there is no manifest's.
    """
    return next(
        (
            str(entry["manager"])
            for entry in service["metadata"].get("managedFields") or ()
            if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
            and not entry.get("subresource")
            and entry["manager"] not in _ACTS_OF_PEOPLE
        ),
        "",
    )


def in_a_manifest(seen: Seen) -> Judgement | None:
    """Say so if a manifest has the number that an autoscaler is to write: it would be put back again and again."""
    if not seen.writer_of_replicas:
        return None
    message = (
        f"{seen.writer_of_replicas} writes spec.replicas, so replicas stay what it says. Take the field out of that "
        "manifest: the number that runs is held, and the autoscaler goes on from there."
    )
    return "False", Reason.REPLICAS_IN_MANIFEST, message


@dataclass(frozen=True, slots=True)
class Fleet:
    """What there is to decide about: the pods that carry traffic."""

    policy: Policy
    current: int
    """How many replicas are asked for."""
    ready: frozenset[str] = frozenset()
    """Names of the pods that are ready."""
    starting: int = 0
    asked: frozenset[str] = frozenset()
    """Names of the pods that are looked at."""
    counts_requests: bool = True
    """Whether the server tells how many requests it has answered."""


@dataclass(slots=True)
class _Followed:
    """One service that is decided about."""

    fleet: Fleet
    memory: Memory = field(default_factory=Memory)
    last: dict[str, Snapshot] = field(default_factory=dict)  # what pods told last
    inflight: float | None = None
    silent: tuple[str, ...] = ()
    decision: Decision | None = None
    decided_on: Fleet | None = None
    blind_since: float | None = None
    is_blind: bool = False  # for longer than a pod takes to end, or because of the clock
    told: tuple[str, Reason] | None = None  # what status says of it
    written: Body = field(default_factory=dict)  # the last change, as status tells it

    @property
    def change(self) -> Decision | None:
        """What was decided, if it is another number, and about the same one as there is."""
        decision, fleet = self.decision, self.decided_on
        if (
            decision is None
            or fleet is None
            or (fleet.policy, fleet.current) != (self.fleet.policy, self.fleet.current)
        ):
            return None
        return decision if decision.replicas != fleet.current else None


class Autoscaling:
    """What is decided about all services of engine Builtin."""

    def __init__(self, readings: Readings, clock: Callable[[], datetime]) -> None:
        self._readings, self._clock = readings, clock
        self._followed: dict[Key, _Followed] = {}

    def see(self, seen: Seen) -> None:
        """Take what there is to decide about, and look at the pods from now on, if there is anything to decide."""
        key, policy = _key(seen), policy_of(seen)
        if seen.spec is None or policy is None or not _is_ours(seen) or _standstill(seen) is not None:
            self.forget(key)
            return
        traffic = seen.situation.traffic
        entries = [entry for entry in seen.situation.ledger if entry.name in traffic]
        found = targets(seen.spec, entries, seen.children.pods.values())
        fleet = _fleet(seen, policy, found)
        if key in self._followed:
            self._followed[key].fleet = fleet
        else:
            self._followed[key] = _Followed(fleet, Memory(learnt=_learnt_before(seen)))
        self._readings.watch(key, found, partial(self._take, key))

    def forget(self, key: Key) -> None:
        """Decide no more about a service."""
        if self._followed.pop(key, None) is not None:
            self._readings.unwatch(key)

    def change(self, seen: Seen) -> Decision | None:
        """Return what was decided, if it is another number than there is."""
        followed = self._followed.get(_key(seen))
        return followed.change if followed is not None else None

    def changed(self, seen: Seen, decision: Decision, now: str) -> None:
        """Take note that it was written at this time."""
        followed = self._followed[_key(seen)]
        followed.written = {
            "replicas": decision.replicas,
            "rule": decision.rule.value,
            "message": decision.message,
            "decidedTime": now,
        }
        if followed.fleet.policy.promise is not None:
            followed.written["share"] = f"{followed.memory.learnt.share:.2f}"
        if decision.rule is Rule.SPARE:
            followed.memory = followed.memory.lowering(self._clock().timestamp())

    def judge(self, seen: Seen) -> Judgement | None:
        """Say whether replicas follow the requests, if this engine is to see to that; of others, whether they may."""
        if not _is_ours(seen):
            return in_a_manifest(seen)
        followed = self._followed.get(_key(seen))
        if followed is None:
            return _standstill(seen) or _as_before(seen)
        found = _judge(followed)
        followed.told = found[:2] if found is not None else None  # what was said before may be another engine's words
        return found or _as_before(seen)

    def written(self, seen: Seen) -> Body | None:
        """Return the last change, as status tells it; empty: there was none, None: this engine makes none."""
        if not _is_ours(seen):
            return None
        followed = self._followed.get(_key(seen))
        return followed.written if followed is not None else {}

    def figures(self) -> Iterator[tuple[Key, int, float | None, str]]:
        """Give of each service: how many replicas were decided on, requests in flight, and the rule that decided."""
        for key, each in self._followed.items():
            if each.decision is not None:
                yield key, each.decision.replicas, each.inflight, each.decision.rule.value

    def _take(self, key: Key, look: Look) -> bool:
        """Decide after a look; tell whether the service is to be brought somewhere, or has something new to tell."""
        followed = self._followed.get(key)
        if followed is None:
            return False
        fleet, now = followed.fleet, self._clock().timestamp()
        sample = sample_of(fleet, look, followed.last, now)
        decision, memory = decide(fleet.policy, followed.memory, sample, now, fleet.current), followed.memory
        followed.decision, followed.decided_on = decision, fleet
        # A step down that is not written yet is none.
        is_spare = decision.rule is Rule.SPARE
        followed.memory = replace(decision.memory, lowered=memory.lowered) if is_spare else decision.memory
        followed.inflight = sample.inflight if sample.told else None
        followed.silent = _silent(fleet, look)
        told = {pod.name: each for pod, each in look if isinstance(each, Snapshot)}
        followed.last = {name: each for name, each in (followed.last | told).items() if name in fleet.asked}
        since = now if followed.blind_since is None else min(now, followed.blind_since)  # the clock may have gone back
        followed.blind_since = since if decision.rule.is_blind else None
        is_long = now - since >= _PATIENCE_SECONDS
        followed.is_blind = decision.rule.is_blind and (is_long or decision.rule is Rule.CLOCK)
        judged = _judge(followed)
        return followed.change is not None or (judged is not None and judged[:2] != followed.told)


def sample_of(fleet: Fleet, look: Look, last: Mapping[str, Snapshot], now: float) -> Sample:
    """Return what a look says of the pods that carry traffic; `last` is what they told at the look before.

    A pod that became ready while the others were looked at was not asked, so it is not missed.
    """
    seen = {pod.name for pod, _ in look}
    ready = {name for name in fleet.ready if name in seen or name not in fleet.asked}
    told = {pod.name: each for pod, each in look if pod.name in ready and isinstance(each, Snapshot)}
    inflight = [each.inflight for each in told.values() if each.inflight is not None]
    is_first = not last or not fleet.counts_requests
    news = sum((increase(last.get(name), each) for name, each in told.items()), Counted())
    in_time = news.latency.get(fleet.policy.promise.seconds) if fleet.policy.promise is not None else None
    return Sample(
        time=now,
        inflight=sum(inflight),
        told=len(inflight),
        ready=len(ready),
        starting=fleet.starting,
        answered=None if is_first else news.requests,
        late=None if is_first or in_time is None else news.latency[math.inf] - in_time,
    )


def _silent(fleet: Fleet, look: Look) -> tuple[str, ...]:
    """Say of each ready pod that does not tell what it has to do why not."""
    outcomes = {pod.name: each for pod, each in look}
    words = {
        name: each if isinstance(each, str) else "does not tell them"
        for name in fleet.ready
        if not isinstance(each := outcomes.get(name), Snapshot) or each.inflight is None
    }
    return tuple(f"pod {name} {why}" for name, why in sorted(words.items()))


def _fleet(seen: Seen, policy: Policy, found: list[Target]) -> Fleet:
    now = seen.situation
    of_traffic = [
        pod for pod in seen.children.pods.values() if pod["metadata"]["labels"].get(names.REVISION) in now.traffic
    ]
    ready = frozenset(pod["metadata"]["name"] for pod in of_traffic if _is_ready(pod))
    asked_for = max(now.replicas, sum(now.workload(name).occupied for name in now.traffic))
    return Fleet(
        policy=policy,
        current=now.replicas,
        ready=ready,
        starting=max(0, asked_for - len(ready)),
        asked=frozenset(each.pod.name for each in found),
        counts_requests=all(each.metrics.requests or each.metrics.latency for each in found),
    )


def _is_ready(pod: Body) -> bool:
    """Tell whether a pod takes requests, and will go on to."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


# -- what is told


def _is_ours(seen: Seen) -> bool:
    """Tell whether this engine is to decide."""
    spec = seen.spec.autoscaling if seen.spec is not None else None
    return spec is not None and spec.engine is ScalingEngine.BUILTIN


def _key(seen: Seen) -> Key:
    return Key(seen.namespace, seen.name)


def _standstill(seen: Seen) -> Judgement | None:
    """Say why nothing can be decided until somebody changes the ModelService."""
    assert seen.spec is not None  # noqa: S101 - nobody asks otherwise
    if (owned := in_a_manifest(seen)) is not None:
        return owned
    left = (*seen.children.autoscalers.values(), *seen.children.scaled_objects.values())
    if left:
        what = " and ".join(f"{each['kind']} {each['metadata']['name']}" for each in left)
        return "Unknown", Reason.NO_AUTOSCALER, f"{what} of the engine before goes first. Replicas are held."
    if not metrics_of(seen.spec).inflight:
        message = (
            "Nobody knows what the server calls its requests without an answer: say so in "
            "spec.runtime.metrics.inflight. Replicas are held."
        )
        return "False", Reason.NO_METRICS, message
    if _target(seen) is None:
        message = (
            "How many requests a replica is to have is not known: give spec.autoscaling.inflightPerReplica, or have "
            "the next revision evaluated (spec.evaluation), which measures it. Replicas are held."
        )
        return "False", Reason.TARGET_UNKNOWN, message
    return None


def _judge(followed: _Followed) -> Judgement | None:
    """Say how it goes; None: nobody knows yet."""
    decision = followed.decision
    if decision is None or (decision.rule.is_blind and not followed.is_blind):
        return None
    if decision.rule is Rule.ZERO:
        return (
            "False",
            Reason.SCALED_TO_ZERO,
            "Zero replicas were asked for, which this engine never leaves by itself: `kubectl scale` does.",
        )
    if decision.rule in {Rule.CLOCK, Rule.STALE}:
        return "False", Reason.NO_METRICS, decision.message
    if decision.rule.is_blind:
        words = "; ".join(followed.silent[:_MOST_TOLD]) or "no pod that carries traffic is ready"
        return (
            "False",
            Reason.NO_METRICS,
            f"Replicas are held, as it is not known how many requests there are: {words}.",
        )
    policy = followed.fleet.policy
    return "True", Reason.SCALING, f"Replicas follow the requests without an answer, {policy.target:.4g} for each."


def _as_before(seen: Seen) -> Judgement:
    """Say what was said before: whoever has just begun to look has no news."""
    for each in (seen.service.get("status") or {}).get("conditions") or ():
        if each["type"] == ConditionType.AUTOSCALER_READY and each["reason"] in _SEEN_IN_PODS:
            return each["status"], next(reason for reason in Reason if reason == each["reason"]), each["message"]
    return "Unknown", Reason.NO_METRICS, "No pod that carries traffic has told its requests yet."
