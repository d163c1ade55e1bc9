"""Engine Builtin in the loop: what it takes for load, when it wakes a service, and what it says of itself."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from modelservice_operator.api.types import Autoscaling as Spec
from modelservice_operator.autoscaling import Autoscaling, Fleet, policy_of, sample_of, writer_of_replicas
from modelservice_operator.monitoring.exposition import Snapshot
from modelservice_operator.monitoring.readings import Pod
from modelservice_operator.observe import NOTHING_AROUND, Around, Seen, observe, read
from modelservice_operator.scaling import Policy, Promise
from unit.operator.makers import (
    CONFIG,
    Body,
    children,
    container,
    deployment,
    entry,
    line,
    pod,
    promoted,
    service,
    traffic_service,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelservice_operator.engine.store import Key
    from modelservice_operator.monitoring.readings import Outcome
    from modelservice_operator.monitoring.targets import Target
    from modelservice_operator.readings import Look

BOUNDS: Body = {"minReplicas": 1, "maxReplicas": 8, "inflightPerReplica": 10}
SERVER = {"name": "server", "ports": [{"name": "metrics", "containerPort": 9090}]}
TEMPLATE: Body = {"spec": {"containers": [SERVER]}}


class Pods:
    """Pods that tell what a test says, in the place of `Readings`."""

    def __init__(self) -> None:
        self.targets: Sequence[Target] = ()
        self.take: Callable[[Look], bool] | None = None

    def watch(self, _: Key, targets: Sequence[Target], take: Callable[[Look], bool]) -> None:
        self.targets, self.take = targets, take

    def unwatch(self, _: Key) -> None:
        self.targets, self.take = (), None


class Scaled:
    """One service that is scaled, its pods and the time of day."""

    def __init__(self) -> None:
        self.pods = Pods()
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.autoscaling = Autoscaling(self.pods, lambda: self.now)  # type: ignore[arg-type]

    def see(self, **more: object) -> Seen:
        seen = saw(**more)  # type: ignore[arg-type]
        self.autoscaling.see(seen)
        return seen

    def look(self, **told: float | str) -> bool:
        """Have pods tell what is in flight, or why they do not, five seconds later; a pod that is not named says 0."""
        assert self.pods.take is not None
        self.now += timedelta(seconds=5)
        outcomes: list[tuple[Pod, Outcome]] = []
        for target in self.pods.targets:
            value = told.get(target.pod.name.replace("-", "_"), 0)
            outcomes.append((target.pod, value if isinstance(value, str) else Snapshot(requests=0, inflight=value)))
        return self.pods.take(outcomes)

    def condition(self, seen: Seen) -> tuple[str, str]:
        judged = self.autoscaling.judge(seen)
        assert judged is not None
        return judged[0], judged[1].value


def up(of: str, name: str, *, ready: bool = True, **metadata: object) -> Body:
    ready_now = {"type": "Ready", "status": "True" if ready else "False"}
    running = container(up=True, running={"startedAt": "2026-01-01T11:00:00Z"})
    body = pod(of, name, podIP="10.0.0.1", conditions=[ready_now], containerStatuses=[running])
    return body | {"metadata": body["metadata"] | metadata}


def saw(
    *,
    replicas: int | None = 2,
    pods: tuple[Body, ...] = (up("m-1", "a"), up("m-1", "b")),
    traffic: tuple[str, ...] = ("m-1",),
    lines: tuple[Body, ...] = (line(promoted(template=TEMPLATE)),),
    around: Around = NOTHING_AROUND,
    status: Body | None = None,
    autoscaling: Body | None = BOUNDS,
    **spec: object,
) -> Seen:
    """A service with two pods that are up."""
    given = spec | ({"replicas": replicas} if replicas is not None else {})
    given |= {"autoscaling": autoscaling} if autoscaling is not None else {}
    bodies = (*lines, deployment(replicas=2), traffic_service(*traffic))
    return observe(read(service(status=status, **given)), children(*bodies, pods=pods), CONFIG, around)


def test_the_spec_s_defaults_are_those_of_the_policy() -> None:
    given = Spec(max_replicas=1)
    assert given.min_replicas == Policy(1).min_replicas
    assert given.scale_down_delay.timedelta.total_seconds() == Policy(1).scale_down_delay
    found = policy_of(saw(autoscaling=BOUNDS | {"schedules": [{"cron": "0 8 * * *", "minReplicas": 3}]}))
    assert found is not None
    assert (found.target, found.min_replicas, found.max_replicas) == (10, 1, 8)
    assert found.bounds(0).min_replicas == 3


def test_the_target_is_given_or_what_the_stable_revision_s_evaluation_measured() -> None:
    measured = line(promoted(template=TEMPLATE))
    measured["metadata"]["annotations"]["modelservice.dev/measured"] = '{"saturation_concurrency": "20"}'
    found = policy_of(saw(lines=(measured,), autoscaling={"maxReplicas": 4}))
    assert found is not None
    assert found.target == pytest.approx(14)
    scaled = Scaled()
    seen = scaled.see(autoscaling={"maxReplicas": 4})
    assert policy_of(seen) is None
    assert scaled.condition(seen) == ("False", "TargetUnknown")
    assert scaled.pods.take is None


PROMISED: Body = {"objectives": [{"name": "latency", "target": "95%", "threshold": "250ms"}]}


def measuring() -> Body:
    found = line(promoted(template=TEMPLATE))
    found["metadata"]["annotations"]["modelservice.dev/measured"] = '{"saturation_concurrency": "20"}'
    return found


def test_what_slo_promises_of_the_latency_is_what_the_target_is_learnt_from_unless_it_is_given() -> None:
    found = policy_of(saw(lines=(measuring(),), autoscaling={"maxReplicas": 4}, slo=PROMISED))
    given = policy_of(saw(slo=PROMISED))
    assert found is not None
    assert found.promise is not None
    assert (found.promise.seconds, found.promise.late) == (0.25, pytest.approx(0.05))
    assert given is not None
    assert given.promise is None


def test_late_is_what_the_histogram_has_above_the_threshold_since_the_look_before() -> None:
    policy = Policy(14, Promise(0.25, 0.05))
    fleet = Fleet(policy, 1, ready=frozenset("a"), asked=frozenset("a"))
    before = Snapshot(100, latency={0.1: 80, 0.25: 90, math.inf: 100}, inflight=3)
    after = Snapshot(150, latency={0.1: 120, 0.25: 130, math.inf: 150}, inflight=3)
    look = [(Pod("a", "m-1", ""), after)]
    assert (sample_of(fleet, look, {"a": before}, 0.0).answered, sample_of(fleet, look, {"a": before}, 0.0).late) == (
        50,
        10,
    )
    assert sample_of(fleet, look, {}, 0.0).late is None, "nobody knows since when they count"
    other = replace(fleet, policy=replace(policy, promise=Promise(0.3, 0.05)))
    assert sample_of(other, look, {"a": before}, 0.0).late is None, "no such bound"


def test_who_begins_to_decide_goes_on_with_what_was_learnt_and_a_change_tells_it() -> None:
    scaled = Scaled()
    known: Body = {"replicas": 9, "rule": "Load", "message": "x", "decidedTime": "", "share": "1.20"}
    spec: Body = {"lines": (measuring(),), "autoscaling": {"maxReplicas": 8}, "slo": PROMISED, "replicas": 9}
    seen = scaled.see(status={"autoscaling": known}, **spec)
    scaled.look(a=8, b=8)
    decision = scaled.autoscaling.change(seen)
    assert decision is not None
    scaled.autoscaling.changed(seen, decision, "")
    written = scaled.autoscaling.written(seen)
    assert written is not None
    assert written["share"] == "1.20"


def test_replicas_follow_the_load_and_only_a_change_wakes_the_service() -> None:
    scaled = Scaled()
    seen = scaled.see()
    assert scaled.look(a=8, b=8), "what is said of it is new"
    assert scaled.condition(seen) == ("True", "Scaling")
    assert not any(scaled.look(a=8, b=8) for _ in range(20))
    assert scaled.autoscaling.change(seen) is None
    while not scaled.look(a=20, b=20):
        pass
    decision = scaled.autoscaling.change(seen)
    assert decision is not None
    assert decision.replicas > 2
    assert scaled.autoscaling.change(scaled.see(replicas=decision.replicas)) is None, "it was decided about two"


def test_a_change_is_told_with_what_was_seen() -> None:
    scaled = Scaled()
    seen = scaled.see(replicas=9)
    assert scaled.look()
    decision = scaled.autoscaling.change(seen)
    assert decision is not None
    scaled.autoscaling.changed(seen, decision, "2026-01-01T12:00:05Z")
    assert scaled.autoscaling.written(seen) == {
        "replicas": 8,
        "rule": "Bounds",
        "message": decision.message,
        "decidedTime": "2026-01-01T12:00:05Z",
    }


def test_what_goes_down_does_so_once_for_each_period_also_if_the_write_was_late() -> None:
    scaled = Scaled()
    scaled.see()
    while scaled.autoscaling.change(saw()) is None:
        scaled.look()
    scaled.look()
    late = scaled.autoscaling.change(saw())
    assert late is not None, "what could not be written stays decided"
    scaled.autoscaling.changed(saw(), late, "")
    seen = scaled.see(replicas=late.replicas + 1)
    assert scaled.condition(seen) == ("True", "Scaling")
    assert not scaled.look()


def test_a_candidate_without_traffic_a_pod_that_goes_and_one_that_loads_are_no_load() -> None:
    lines = (line(promoted(template=TEMPLATE)), line(entry("m-2", 2, template=TEMPLATE)))
    gone = up("m-1", "c", deletionTimestamp="2026-01-01T12:00:00Z")
    pods = (up("m-1", "a"), up("m-1", "b", ready=False), gone, up("m-2", "d"))
    scaled = Scaled()
    scaled.see(pods=pods, lines=lines)
    scaled.look(a=5, b=100, c=100, d=100)
    ((_, replicas, inflight, _),) = scaled.autoscaling.figures()
    assert (replicas, inflight) == (2, 5)


def test_pods_that_do_not_answer_are_told_once_they_are_silent_for_long_and_replicas_are_held() -> None:
    scaled = Scaled()
    seen = scaled.see()
    scaled.look(a=8, b=8)
    assert scaled.condition(seen) == ("True", "Scaling")
    silent = {"a": "does not answer (http://a)", "b": "does not answer (http://b)"}
    woken = [scaled.look(**silent) for _ in range(7)]
    assert woken == [False] * 6 + [True]
    assert scaled.condition(seen) == ("False", "NoMetrics")
    judged = scaled.autoscaling.judge(seen)
    assert judged is not None
    assert "pod a does not answer (http://a); pod b does" in judged[2]
    assert scaled.autoscaling.change(seen) is None
    assert scaled.look(a=8, b=8)
    assert scaled.condition(seen) == ("True", "Scaling")


@pytest.mark.parametrize(("minutes", "words"), [(5, "Nobody has looked for 305s"), (-5, "went back by")])
def test_a_clock_that_jumps_is_told_at_once_and_replicas_are_held(minutes: int, words: str) -> None:
    scaled = Scaled()
    seen = scaled.see()
    scaled.look(a=8, b=8)
    assert scaled.condition(seen) == ("True", "Scaling")
    scaled.now += timedelta(minutes=minutes)
    assert scaled.look(a=80, b=80), "this is to be told"
    judged = scaled.autoscaling.judge(seen)
    assert judged is not None
    assert judged[:2] == ("False", "NoMetrics")
    assert words in judged[2]
    assert scaled.autoscaling.change(seen) is None
    assert scaled.look(a=8, b=8)
    assert scaled.condition(seen) == ("True", "Scaling")


def test_a_clock_that_went_back_while_pods_were_silent_does_not_hide_that_they_are() -> None:
    scaled = Scaled()
    seen = scaled.see()
    scaled.look(a="does not answer")
    scaled.now -= timedelta(hours=1)
    for _ in range(8):
        scaled.look(a="does not answer", b="does not answer")
    assert scaled.condition(seen) == ("False", "NoMetrics")


def test_who_has_just_begun_says_what_was_said_before() -> None:
    before = {"type": "AutoscalerReady", "status": "False", "reason": "NoMetrics", "message": "x"}
    scaled = Scaled()
    assert scaled.condition(scaled.see()) == ("Unknown", "NoMetrics")
    assert scaled.condition(scaled.see(status={"conditions": [before]})) == ("False", "NoMetrics")


def test_the_words_of_the_engine_before_go_with_the_first_look() -> None:
    before = {"type": "AutoscalerReady", "status": "True", "reason": "Scaling", "message": "ScaledObject m scales."}
    scaled = Scaled()
    seen = scaled.see(status={"conditions": [before]})
    assert scaled.condition(seen) == ("True", "Scaling")
    assert scaled.look(a=8, b=8), "there is something else to say"
    judged = scaled.autoscaling.judge(seen)
    assert judged is not None
    assert "10 for each" in judged[2]
    assert not scaled.look(a=8, b=8)


def test_a_manifest_that_has_the_number_is_told_and_nobody_decides() -> None:
    scaled = Scaled()
    seen = scaled.see(around=Around(writer_of_replicas="kustomize-controller"))
    assert scaled.condition(seen) == ("False", "ReplicasInManifest")
    assert scaled.pods.take is None
    other = scaled.see(around=Around(writer_of_replicas="helm"), autoscaling=BOUNDS | {"engine": "HPA"})
    assert scaled.condition(other) == ("False", "ReplicasInManifest")


def test_a_custom_server_must_say_what_it_calls_its_requests() -> None:
    custom = {"name": "Custom", "image": "x", "metricsPath": "/metrics", "metrics": {"latency": "seconds"}}
    scaled = Scaled()
    assert scaled.condition(scaled.see(runtime=custom)) == ("False", "NoMetrics")


def test_zero_is_left_alone() -> None:
    scaled = Scaled()
    seen = scaled.see(replicas=0, pods=())
    scaled.look()
    assert scaled.autoscaling.change(seen) is None
    assert scaled.condition(seen) == ("False", "ScaledToZero")


@pytest.mark.parametrize("engine", [None, "HPA", "KEDA"])
def test_another_engine_or_none_ends_it(engine: str | None) -> None:
    scaled = Scaled()
    scaled.see()
    seen = scaled.see(autoscaling=BOUNDS | {"engine": engine} if engine else None)
    assert scaled.autoscaling.judge(seen) is scaled.autoscaling.written(seen) is None
    assert scaled.pods.take is None
    assert [*scaled.autoscaling.figures()] == []


def owned(manager: str, subresource: str = "", **fields: object) -> Body:
    return {"manager": manager, "subresource": subresource, "fieldsV1": {"f:spec": fields}}


@pytest.mark.parametrize(
    ("entries", "writer"),
    [
        ([], ""),
        ([owned("kubectl", **{"f:model": {}})], ""),
        ([owned("kubectl-client-side-apply", **{"f:replicas": {}})], "kubectl-client-side-apply"),
        ([owned("modelservice-operator", "scale", **{"f:replicas": {}}), owned("argocd", **{"f:model": {}})], ""),
        ([owned("kube-controller-manager", "scale", **{"f:replicas": {}})], ""),
        ([owned("kubectl-edit", **{"f:replicas": {}})], ""),
        ([owned("x", "scale", **{"f:replicas": {}}), owned("flux", **{"f:replicas": {}})], "flux"),
    ],
)
def test_who_has_replicas_in_a_manifest_is_known_from_who_owns_the_field(entries: list[Body], writer: str) -> None:
    assert writer_of_replicas({"metadata": {"managedFields": entries}}) == writer


def test_a_pod_that_was_not_asked_yet_is_not_missed() -> None:
    scaled = Scaled()
    scaled.see(pods=(up("m-1", "a"),))
    asked = scaled.pods.targets
    scaled.see()
    scaled.pods.targets = asked
    scaled.look(a=3)
    ((_, _, _, rule),) = scaled.autoscaling.figures()
    assert rule == "Learning"
