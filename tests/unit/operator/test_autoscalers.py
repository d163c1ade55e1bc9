from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from modelservice_operator import autoscalers
from modelservice_operator.autoscaling import Autoscaling
from modelservice_operator.config import Autoscaling as Settings
from modelservice_operator.config import Prometheus
from modelservice_operator.engine.scrape import Scraper
from modelservice_operator.observe import Around, observe, read
from modelservice_operator.readings import Readings
from modelservice_operator.render.horizontal_pod_autoscaler import (
    external_metric,
    horizontal_pod_autoscaler,
    pods_metric,
)
from modelservice_operator.render.scaled_object import prometheus_trigger, scaled_object
from modelservice_operator.rollout.situation import LONG_AGO
from modelservice_operator.scaling import Policy
from unit.operator.makers import CONFIG, Body, children, deployment, line, live, promoted, service

if TYPE_CHECKING:
    from modelservice_operator.monitoring.monitored import Judgement
    from modelservice_operator.observe import Seen
    from modelservice_operator.optional import OptionalChild

PROMETHEUS = "http://prometheus:9090"
POLICY = Policy(target=8, min_replicas=1, max_replicas=4)
HPA = horizontal_pod_autoscaler("ml", "m", POLICY, POLICY.bounds(0), pods_metric("model_server_inflight_requests", 8))
KEDA = scaled_object("ml", "m", POLICY, POLICY.bounds(0), prometheus_trigger(PROMETHEUS, "q", 8))
GATEWAY = {"demand_query": 'gateway_requests{service="{namespace}/{name}"}'}
VLLM = {"name": "VLLM", "image": "example/vllm:1"}


def sees(*there: Body, now: datetime | None = None, replicas: int | None = 2, **scaling: object) -> Seen:
    """A service whose spec has an autoscaler, and what there is of it."""
    runtime = {"runtime": scaling.pop("runtime")} if "runtime" in scaling else {}
    number = {} if replicas is None else {"replicas": replicas}
    spec = {"autoscaling": {"maxReplicas": 4, "inflightPerReplica": 8} | scaling} if scaling else {}
    body = service(**spec, **runtime, **number)
    return observe(read(body), children(*there), CONFIG, Around(now=now) if now else Around())


def thoughts(seen: Seen, kind: str, why_not: str = "", *, url: str = PROMETHEUS, **config: str) -> OptionalChild:
    """What is thought about one kind of autoscaler."""
    [child] = [each for each in _children(seen, why_not, url, config) if each.resource.kind == kind]
    return child


def judged(seen: Seen, why_not: str = "", *, url: str = PROMETHEUS, **config: str) -> Judgement:
    settings = _config(url, config)
    found = autoscalers.judge(seen, settings, _children(seen, why_not, url, config))
    assert found is not None
    return found


def _children(seen: Seen, why_not: str, url: str, config: dict[str, str]) -> tuple[OptionalChild, ...]:
    return autoscalers.autoscalers(seen, _config(url, config), lambda *_: why_not)


def _config(url: str, config: dict[str, str]) -> Any:  # noqa: ANN401 - pydantic says no more
    return CONFIG.model_copy(
        update={"prometheus": Prometheus(url=url), "autoscaling": Settings.model_validate(config, by_name=True)}
    )


def of(child: OptionalChild) -> Body:
    """The spec of what is to be there."""
    assert child.wanted is not None
    spec: Body = child.wanted["spec"]
    return spec


# -- what there is to be


def test_each_engine_has_its_object_and_builtin_has_none() -> None:
    for engine, kinds in {"Builtin": set(), "HPA": {"HorizontalPodAutoscaler"}, "KEDA": {"ScaledObject"}}.items():
        found = _children(sees(engine=engine), "", PROMETHEUS, {})
        assert {each.resource.kind for each in found if each.wanted is not None} == kinds
        assert all(each.possible for each in found)
    assert not any(each.wanted for each in _children(sees(), "", PROMETHEUS, {}))


def test_an_hpa_reads_the_gauge_of_the_pods_or_what_the_administrator_names() -> None:
    seen = sees(engine="HPA")
    assert of(thoughts(seen, "HorizontalPodAutoscaler"))["metrics"] == [
        pods_metric("model_server_inflight_requests", 8)
    ]
    named = thoughts(seen, "HorizontalPodAutoscaler", external_metric="inflight")
    assert of(named)["metrics"] == [external_metric("inflight", "m", 8)]


def test_what_a_server_tells_in_two_gauges_an_hpa_cannot_add() -> None:
    seen = sees(engine="HPA", runtime=VLLM)
    child = thoughts(seen, "HorizontalPodAutoscaler")
    assert "vllm:num_requests_running and vllm:num_requests_waiting" in child.refusal
    assert "autoscaling.externalMetric" in child.refusal
    assert of(thoughts(seen, "HorizontalPodAutoscaler", external_metric="inflight"))
    [trigger] = of(thoughts(sees(engine="KEDA", runtime=VLLM), "ScaledObject"))["triggers"]
    assert trigger["metadata"]["query"] == (
        'sum(vllm:num_requests_running{namespace="ml",modelservice="m"}) + '
        'sum(vllm:num_requests_waiting{namespace="ml",modelservice="m"})'
    )


def test_keda_asks_the_operators_prometheus_for_one_number() -> None:
    [trigger] = of(thoughts(sees(engine="KEDA"), "ScaledObject", trigger_authentication="thanos"))["triggers"]
    query = 'sum(model_server_inflight_requests{namespace="ml",modelservice="m"})'
    assert trigger == prometheus_trigger(PROMETHEUS, query, 8, "thanos")


def test_without_a_target_of_its_own_a_service_gets_that_of_its_evaluation() -> None:
    measured = line(promoted())
    measured["metadata"]["annotations"]["modelservice.dev/measured"] = '{"saturation_concurrency": "11"}'
    given = {"engine": "HPA", "inflightPerReplica": None}
    for there, target in [((measured, deployment()), "7700m"), ((line(promoted()), deployment()), None)]:
        child = thoughts(sees(*there, **given), "HorizontalPodAutoscaler")
        if target is None:
            assert "inflightPerReplica is not given" in child.refusal
        else:
            assert of(child)["metrics"][0]["pods"]["target"]["averageValue"] == target


def test_schedules_give_the_bounds_that_hold_now_and_the_next_minute_is_looked_at() -> None:
    schedules = [{"cron": "0 8 * * *", "minReplicas": 3}, {"cron": "0 20 * * *", "maxReplicas": 2}]
    for hour, bounds in [(9, (3, 4)), (21, (1, 2))]:
        now = datetime(2026, 5, 4, hour, 30, 20, tzinfo=UTC)
        seen = sees(engine="HPA", schedules=schedules, now=now)
        body = of(thoughts(seen, "HorizontalPodAutoscaler"))
        assert (body["minReplicas"], body["maxReplicas"]) == bounds
        assert autoscalers.again(seen) == timedelta(seconds=40)
    assert autoscalers.again(sees(engine="HPA")) is None
    assert autoscalers.again(sees(engine="Builtin", schedules=schedules)) is None


def test_nothing_is_made_before_the_number_of_replicas_is_written() -> None:
    child = thoughts(sees(engine="HPA", replicas=None), "HorizontalPodAutoscaler")
    assert not child.possible
    assert "spec.replicas" in child.why_not


def test_the_object_of_the_engine_before_goes_first() -> None:
    seen = sees(live(HPA), engine="KEDA")
    gone = thoughts(seen, "HorizontalPodAutoscaler")
    assert (gone.wanted, gone.possible, set(gone.live)) == (None, True, {"m"})
    assert "HorizontalPodAutoscaler m" in thoughts(seen, "ScaledObject").why_not
    assert judged(seen)[:2] == ("Unknown", "NoAutoscaler")
    assert thoughts(sees(live(KEDA), engine="HPA"), "HorizontalPodAutoscaler").possible is False


def test_the_operator_decides_nothing_before_the_autoscaler_of_others_is_gone() -> None:
    builtin = Autoscaling(Readings(Scraper()), lambda: LONG_AGO)
    for there in (HPA, KEDA):
        seen = sees(live(there), engine="Builtin")
        builtin.see(seen)
        holds, reason, message = builtin.judge(seen) or ("", "", "")
        assert (holds, reason) == ("Unknown", "NoAutoscaler")
        assert f"{there['kind']} m of the engine before goes first" in message


@pytest.mark.parametrize(
    ("seen", "why_not", "url", "words"),
    [
        (sees(engine="KEDA"), "the cluster does not serve it", PROMETHEUS, "the cluster does not serve it"),
        (sees(engine="KEDA"), "", "", "prometheus.url"),
        (sees(engine="KEDA", runtime={"name": "Custom", "image": "x"}), "", PROMETHEUS, "runtime.metrics.inflight"),
    ],
)
def test_what_is_missing_is_named_and_what_would_scale_goes(seen: Seen, why_not: str, url: str, words: str) -> None:
    child = thoughts(seen, "ScaledObject", why_not, url=url)
    assert child.wanted is None
    assert words in child.why_not + child.refusal
    assert child.possible is not bool(why_not), "where the cluster can have one, what there was goes"
    holds, reason, message = judged(seen, why_not, url=url)
    assert (holds, reason) == ("False", "NoAutoscaler")
    assert words in message
    assert "Replicas stay" in message


# -- zero


def test_only_a_service_that_has_served_goes_to_zero_and_only_by_a_metric_that_is_there_without_pods() -> None:
    served = (line(promoted()), deployment())
    for there, config, least in [((), {}, 1), (served, {}, 1), ((), GATEWAY, 1), (served, GATEWAY, 0)]:
        body = of(thoughts(sees(*there, engine="KEDA", minReplicas=0), "ScaledObject", **config))
        assert body["minReplicaCount"] == least
        query = body["triggers"][0]["metadata"]["query"]
        of_pods = 'sum(model_server_inflight_requests{namespace="ml",modelservice="m"})'
        assert query == (of_pods if least else 'sum(gateway_requests{service="ml/m"})')


def test_a_refused_zero_is_told() -> None:
    ready = live(KEDA, conditions=[{"type": "Ready", "status": "True", "message": "fine"}])
    seen = sees(ready, engine="KEDA", minReplicas=0)
    assert judged(seen)[:2] == ("True", "ZeroRefused")
    assert "autoscaling.demandQuery" in judged(seen)[2]
    assert "has been ready" in judged(seen, **GATEWAY)[2]
    assert judged(sees(ready, line(promoted()), deployment(), engine="KEDA", minReplicas=0), **GATEWAY)[1] == "Scaling"


# -- how it fares


def hpa(**conditions: str) -> Body:
    found = [{"type": kind, "status": status, "message": f"words of {kind}"} for kind, status in conditions.items()]
    return live(HPA, conditions=found)


def keda(**conditions: str) -> Body:
    found = [{"type": kind, "status": status, "message": f"words of {kind}"} for kind, status in conditions.items()]
    return live(KEDA, conditions=found)


@pytest.mark.parametrize(
    ("there", "holds", "words"),
    [
        ([], "Unknown", "not there yet"),
        ([live(HPA)], "Unknown", "controller manager has not looked"),
        ([hpa(AbleToScale="True")], "Unknown", "controller manager has not looked"),
        ([hpa(AbleToScale="True", ScalingActive="True", ScalingLimited="True")], "True", "scales"),
        ([hpa(AbleToScale="True", ScalingActive="False")], "False", "words of ScalingActive"),
        ([hpa(AbleToScale="False", ScalingActive="True")], "False", "words of AbleToScale"),
    ],
)
def test_an_hpa_is_judged_by_its_own_words(there: list[Body], holds: str, words: str) -> None:
    found = judged(sees(*there, engine="HPA"))
    assert found[0] == holds
    assert words in found[2]


@pytest.mark.parametrize(
    ("there", "holds", "words"),
    [
        ([], "Unknown", "not there yet"),
        ([live(KEDA)], "Unknown", "KEDA has not looked"),
        ([live(KEDA, conditions=[{"type": "Ready", "status": "Unknown"}])], "Unknown", "KEDA has not looked"),
        ([keda(Ready="True", Active="False", Fallback="False", Paused="False")], "True", "scales"),
        ([keda(Ready="True", Fallback="True")], "False", "holds the number of replicas"),
        ([keda(Ready="True", HPAActive="False")], "False", "words of HPAActive"),
        ([keda(Ready="False")], "False", "words of Ready"),
        ([keda(Ready="True", Paused="True")], "False", "words of Paused"),
    ],
)
def test_a_scaled_object_is_judged_by_its_own_words(there: list[Body], holds: str, words: str) -> None:
    found = judged(sees(*there, engine="KEDA"))
    assert found[0] == holds
    assert words in found[2]


def test_who_decides_itself_is_not_judged_here() -> None:
    for seen in (sees(), sees(engine="Builtin")):
        assert autoscalers.judge(seen, CONFIG, ()) is None
