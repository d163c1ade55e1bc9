"""The autoscaler that others run for a service, of engine HPA or KEDA: what there is to be, and how it fares. No I/O.

Whoever decides about the number of replicas writes it to `spec.replicas`, where it stays. So another engine moves
nothing: the object of the old one goes, then that of the new one comes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import ScalingEngine
from modelservice_operator.autoscaling import policy_of
from modelservice_operator.kube.resources import HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS
from modelservice_operator.optional import OptionalChild
from modelservice_operator.render.horizontal_pod_autoscaler import (
    external_metric,
    horizontal_pod_autoscaler,
    pods_metric,
)
from modelservice_operator.render.scaled_object import prometheus_trigger, scaled_object
from modelservice_operator.slo.metrics import metrics_of, series
from modelservice_operator.slo.recordings import selector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelservice_operator.config import Config
    from modelservice_operator.kube.resources import Resource
    from modelservice_operator.monitoring.monitored import Judgement
    from modelservice_operator.observe import Seen
    from modelservice_operator.scaling import Policy
    from modelservice_operator.scaling.policy import Bounds

Body = dict[str, Any]

KINDS: Final = {ScalingEngine.HPA: HORIZONTAL_POD_AUTOSCALERS, ScalingEngine.KEDA: SCALED_OBJECTS}


class _NoAutoscalerError(Exception):
    """There can be none; the message says why."""


def autoscalers(seen: Seen, config: Config, why_not: Callable[[Resource, str], str]) -> tuple[OptionalChild, ...]:
    """Return what a service with a valid spec has of each kind; `why_not` knows the cluster's APIs."""
    live = {HORIZONTAL_POD_AUTOSCALERS: seen.children.autoscalers, SCALED_OBJECTS: seen.children.scaled_objects}
    found = []
    for engine, kind in KINDS.items():
        others = [f"{other.kind} {name}" for other in live if other != kind for name in live[other]]
        missing = "" if kind is HORIZONTAL_POD_AUTOSCALERS else why_not(kind, seen.namespace)  # any cluster has those
        child = OptionalChild(kind, None, live[kind], missing)
        if child.possible and engine is engine_of(seen):
            try:
                wanted = _wanted(seen, config, engine)
            except _NoAutoscalerError as error:  # what there was goes, so replicas stay
                child = replace(child, refusal=str(error))
            else:
                child = replace(child, wanted=wanted, why_not=_waits_for(seen, others))
        found.append(child)
    return tuple(found)


def engine_of(seen: Seen) -> ScalingEngine | None:
    """Return who decides how many replicas there are; None: whoever writes them."""
    return seen.spec.autoscaling.engine if seen.spec is not None and seen.spec.autoscaling is not None else None


def again(seen: Seen) -> timedelta | None:
    """Return when other bounds may hold: schedules begin with a minute."""
    scaling = seen.spec.autoscaling if seen.spec is not None else None
    if scaling is None or scaling.engine not in KINDS or not scaling.schedules:
        return None
    return timedelta(seconds=60 - seen.situation.now.second)


def judge(seen: Seen, config: Config, children: Iterable[OptionalChild]) -> Judgement | None:
    """Judge the autoscaler of a service of engine HPA or KEDA; what its own status says is told in its own words."""
    engine = engine_of(seen)
    if engine not in KINDS:
        return None
    child = next(each for each in children if each.resource is KINDS[engine])
    kind, live = child.resource.kind, child.live.get(seen.name)
    if why_not := child.why_not or child.refusal:
        is_near = child.wanted is not None  # it only waits for something of ours
        return (
            "Unknown" if is_near else "False",
            Reason.NO_AUTOSCALER,
            f"{kind} {seen.name}: {why_not}. Replicas stay as they are.",
        )
    if live is None:
        return "Unknown", Reason.NO_AUTOSCALER, f"{kind} {seen.name} is not there yet."
    holds, reason, message = (_judge_hpa if engine is ScalingEngine.HPA else _judge_scaled_object)(live)
    if holds == "True" and (refusal := _zero_is_refused(seen, config, _bounds(seen, _policy(seen)))):
        return "True", Reason.ZERO_REFUSED, refusal
    return holds, reason, f"{kind} {seen.name} {message}"


# -- what there is to be


def _policy(seen: Seen) -> Policy:
    policy = policy_of(seen)
    if policy is None:
        raise _NoAutoscalerError(
            "spec.autoscaling.inflightPerReplica is not given, and no evaluation has measured what saturates a replica"
        )
    return policy


def _bounds(seen: Seen, policy: Policy) -> Bounds:
    return policy.bounds(seen.situation.now.timestamp())


def _zero_is_refused(seen: Seen, config: Config, bounds: Bounds) -> str:
    """Say why a service is not let go to zero; empty: it is, or does not ask for it."""
    if bounds.min_replicas:
        return ""
    if not config.autoscaling.demand_query:
        return (
            "minReplicas: 0 counts as 1: without pods there is no metric of theirs that could wake the service, and "
            "the administrator names no other (autoscaling.demandQuery in values.yaml)."
        )
    return "" if seen.situation.stable is not None else "minReplicas: 0 counts as 1 until the service has been ready."


def _wanted(seen: Seen, config: Config, engine: ScalingEngine) -> Body:
    policy = _policy(seen)
    bounds = _bounds(seen, policy)
    if _zero_is_refused(seen, config, bounds):
        bounds = replace(bounds, min_replicas=1, max_replicas=max(1, bounds.max_replicas))
    if engine is ScalingEngine.HPA:
        metric = _metric(seen, config, policy.target)
        return horizontal_pod_autoscaler(seen.namespace, seen.name, policy, bounds, metric)
    return scaled_object(seen.namespace, seen.name, policy, bounds, _trigger(seen, config, policy.target, bounds))


def _waits_for(seen: Seen, others: list[str]) -> str:
    """Say what must be so before the object is made or changed."""
    if others:
        return f"{' and '.join(others)} of the engine before goes first"
    assert seen.spec is not None  # noqa: S101 - there is an engine
    return "spec.replicas, which it reads, is about to be written" if seen.spec.replicas is None else ""


def _metric(seen: Seen, config: Config, target: float) -> Body:
    if name := config.autoscaling.external_metric:
        return external_metric(name, seen.name, target)
    match _gauges(seen):
        case (gauge,) if "{" not in gauge:
            return pods_metric(gauge, target)
        case gauges:
            raise _NoAutoscalerError(
                f"an HPA does not add {' and '.join(gauges)}, which together are the requests without an answer; an "
                "administrator can name a metric that is their sum (autoscaling.externalMetric in values.yaml)"
            )


def _trigger(seen: Seen, config: Config, target: float, bounds: Bounds) -> Body:
    if not config.prometheus.url:
        raise _NoAutoscalerError("the operator knows no Prometheus that KEDA could ask (prometheus.url in values.yaml)")
    query = _demand_query(seen, config) if bounds.min_replicas == 0 else _inflight_query(seen)
    return prometheus_trigger(config.prometheus.url, query, target, config.autoscaling.trigger_authentication)


def _inflight_query(seen: Seen) -> str:
    """Return the query for all requests without an answer: one number, or none where Prometheus has not all gauges."""
    of_pods = selector(seen.namespace, seen.name)
    return " + ".join(f"sum({series(gauge, of_pods)})" for gauge in _gauges(seen))


def _demand_query(seen: Seen, config: Config) -> str:
    query = config.autoscaling.demand_query.replace("{namespace}", seen.namespace).replace("{name}", seen.name)
    return f"sum({query})"


def _gauges(seen: Seen) -> tuple[str, ...]:
    assert seen.spec is not None  # noqa: S101 - there is an engine
    if gauges := metrics_of(seen.spec).inflight:
        return gauges
    raise _NoAutoscalerError(
        "nobody knows what the server calls its requests without an answer; say so in spec.runtime.metrics.inflight"
    )


# -- how it fares


def _judge_hpa(live: Body) -> Judgement:
    conditions = _conditions(live)
    for kind in ("AbleToScale", "ScalingActive"):
        if (found := conditions.get(kind)) is not None and found["status"] != "True":
            return "False", Reason.AUTOSCALER_FAILS, f"does not scale: {found.get('message', found.get('reason'))}"
    if "ScalingActive" not in conditions:
        return "Unknown", Reason.NO_AUTOSCALER, "is there; the controller manager has not looked at it yet."
    return "True", Reason.SCALING, "scales."


def _judge_scaled_object(live: Body) -> Judgement:
    conditions = _conditions(live)
    if (paused := conditions.get("Paused", {})).get("status") == "True":
        return "False", Reason.AUTOSCALER_FAILS, f"is paused: {paused.get('message')}"
    ready = conditions.get("Ready", {})
    if ready.get("status") != "True" and not ready.get("message"):
        return "Unknown", Reason.NO_AUTOSCALER, "is there; KEDA has not looked at it yet. Does its operator run?"
    for found in (ready, conditions.get("HPAActive", {"status": "True"})):
        if found["status"] != "True":
            return "False", Reason.AUTOSCALER_FAILS, f"does not scale: {found.get('message')}"
    if conditions.get("Fallback", {}).get("status") == "True":
        words = "has no metric from Prometheus, and holds the number of replicas; KEDA's log says why."
        return "False", Reason.AUTOSCALER_FAILS, words
    return "True", Reason.SCALING, "scales."


def _conditions(live: Body) -> dict[str, Body]:
    return {each["type"]: each for each in (live.get("status") or {}).get("conditions") or ()}
