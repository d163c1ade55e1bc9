from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator import names
from modelservice_operator.api.reasons import Reason
from modelservice_operator.config import Limits
from modelservice_operator.observe import Seen, kept_by, observe, outdated, read
from modelservice_operator.render.children import pin
from modelservice_operator.rollout.revision import shape
from modelservice_operator.rollout.situation import Verdict
from unit.operator.makers import (
    CONFIG,
    DIGEST,
    TEMPLATE,
    Body,
    children,
    deployment,
    entry,
    line,
    live,
    parsed,
    pod,
    promoted,
    revision_of,
    service,
    traffic_service,
)

UNKNOWN_CLASS = {"accelerator": {"class": "nvidia-t4"}}
BAD_OVERLAY = {"podTemplate": {"spec": {"containers": None}}}
BROKEN = {"accelerator": {}}
PASSED = {"verdict": Verdict.PASSED}


def seen(*bodies: Body, pods: tuple[Body, ...] = (), annotations: Body | None = None, **spec: object) -> Seen:
    return observe(read(service(annotations=annotations, **spec)), children(*bodies, pods=pods), CONFIG)


def serving(replicas: int = 3) -> tuple[Body, ...]:
    """The children of a service that is settled on revision m-1."""
    return line(promoted()), deployment(replicas=replicas), traffic_service("m-1")


def rolling(stable: int, newcomer: int, promised: int) -> tuple[Body, ...]:
    """The children of a service on its way from m-1 to m-2."""
    return (
        line(promoted()),
        line(entry("m-2", 2, **PASSED)),
        deployment(replicas=stable, promised=promised),
        deployment("m-2", newcomer, promised=promised),
        traffic_service("m-1", "m-2"),
    )


# -- the revision that the spec describes


def test_a_line_of_the_ledger_is_outdated_when_its_template_would_be_another_one_today() -> None:
    fresh = seen()
    assert fresh.desired is not None
    assert outdated(fresh, CONFIG) == ""  # not recorded yet: it is of today
    assert outdated(seen(line(fresh.desired)), CONFIG) == ""
    other = CONFIG.model_copy(update={"images": CONFIG.images.model_copy(update={"server": "example/server:2"})})
    told = outdated(seen(line(fresh.desired)), other)
    assert told.startswith(f"Revision {fresh.desired.name} runs the pod template that")
    assert names.RESTART in told


def test_a_line_of_the_ledger_that_would_be_refused_today_is_outdated() -> None:
    on_l4 = seen(accelerator={"class": "nvidia-l4"})
    assert on_l4.desired is not None
    without = CONFIG.model_copy(update={"accelerators": {}})
    told = outdated(seen(line(on_l4.desired), accelerator={"class": "nvidia-l4"}), without)
    assert 'would be refused today: spec.accelerator.class "nvidia-l4" is not defined' in told


def test_a_limit_is_for_what_is_new_and_stops_nothing_that_is_on_record() -> None:
    image = {"runtime": {"image": "somebody/server:1"}}
    limited = CONFIG.model_copy(update={"limits": Limits(images=("example/**",))})
    asked = read(service(**image))
    known = observe(asked, children(), CONFIG).desired
    assert known is not None

    refused = observe(asked, children(*serving(3)), limited)
    assert refused.problem is not None
    assert (refused.problem.reason, refused.situation.desired) == (Reason.NOT_ALLOWED, "m-1")
    assert "(values.yaml: limits.images)" in refused.problem.message

    back = observe(asked, children(*serving(3), line(known)), limited)
    assert (back.problem, back.situation.desired) == (None, known.name)
    assert "would be refused today: Image" in outdated(back, limited)


def test_a_new_spec_describes_a_revision_with_a_template_of_its_own() -> None:
    found = seen(resources={"limits": {"cpu": "1000m"}})
    assert found.desired is not None
    assert found.situation.desired == found.desired.name == revision_of(resources={"limits": {"cpu": 1}})
    assert found.desired.sequence == 1
    assert found.desired.spec == shape(parsed(resources={"limits": {"cpu": 1}}), "")
    assert found.desired.template["metadata"]["labels"][names.REVISION] == found.desired.name


def test_a_known_revision_runs_the_template_that_the_ledger_holds() -> None:
    known = entry(revision_of(), 4, spec=shape(parsed(), ""))
    found = seen(line(known))
    assert found.desired is not None
    assert found.desired.template == TEMPLATE
    assert found.desired.sequence == 4


def test_a_known_revision_runs_although_its_class_is_no_longer_defined() -> None:
    assert seen(line(entry(revision_of(**UNKNOWN_CLASS))), **UNKNOWN_CLASS).problem is None


def test_a_new_revision_comes_after_all_lines_of_the_ledger() -> None:
    found = seen(line(promoted()), line(entry("m-2", 5)))
    assert found.desired is not None
    assert found.desired.sequence == 6


def test_the_restart_annotation_makes_a_revision() -> None:
    assert seen(annotations={names.RESTART: "now"}).situation.desired == revision_of(restart="now")
    assert seen(annotations={"note": "hello"}).situation.desired == revision_of()


# -- the traffic, from the live selector


@pytest.mark.parametrize(
    ("services", "traffic"),
    [
        ((), set()),
        ((traffic_service(),), set()),
        ((traffic_service("m-1"),), {"m-1"}),
        ((traffic_service("m-1", "m-2"),), {"m-1", "m-2"}),
        ((traffic_service("m-1") | {"spec": {"ports": [{"port": 8080}]}},), {"m-1", "m-2"}),
    ],
    ids=["no Service", "none yet", "one", "two", "a selector that somebody removed"],
)
def test_the_traffic_is_what_the_live_service_selects(services: tuple[Body, ...], traffic: set[str]) -> None:
    ledger = (line(promoted()), line(entry("m-2", 2, **PASSED)), line(entry("m-3", 3)))
    loads = (deployment(), deployment("m-2"), deployment("m-3"))
    assert seen(*ledger, *loads, *services).situation.traffic == traffic


def test_the_metrics_service_is_no_traffic() -> None:
    metrics = traffic_service("m-1")
    metrics["metadata"]["name"] = "m-metrics"
    assert seen(line(promoted()), deployment(), metrics).situation.traffic == set()


# -- the promised number


def test_the_promise_is_the_spec_s() -> None:
    assert seen(*serving(3), replicas=5).situation.replicas == 5
    assert seen(*serving(3), replicas=0).situation.replicas == 0


def test_without_a_number_a_new_service_gets_one_pod() -> None:
    assert seen().situation.replicas == 1


def test_without_a_number_a_new_service_that_is_scaled_begins_with_the_fewest_but_not_with_none() -> None:
    scaling: Body = {"minReplicas": 2, "maxReplicas": 5}
    assert seen(autoscaling=scaling).situation.replicas == 2
    assert seen(autoscaling=scaling, replicas=4).situation.replicas == 4
    assert seen(autoscaling=scaling | {"engine": "KEDA", "minReplicas": 0}).situation.replicas == 1
    assert seen(*serving(3), autoscaling=scaling).situation.replicas == 3


@pytest.mark.parametrize(
    "bodies",
    [
        serving(3),
        rolling(3, 1, promised=3),
        rolling(2, 1, promised=3),
        rolling(1, 2, promised=3),
        rolling(1, 3, promised=3),
        serving(3)[:2],
        (line(entry()), deployment(replicas=1, promised=3)),
        (deployment(replicas=3), traffic_service("m-1")),
    ],
    ids=[
        "settled",
        "a roll that begins",
        "a roll that has just given up an old pod",
        "in the middle of a roll",
        "a roll that ends",
        "no Service",
        "a first revision that starts with one pod, to be pinned",
        "a lost ledger",
    ],
)
def test_without_a_number_the_one_that_was_promised_last_is_held(bodies: tuple[Body, ...]) -> None:
    assert seen(*bodies).situation.replicas == 3


def test_without_a_number_zero_is_held_too() -> None:
    assert seen(*serving(0)).situation.replicas == 0


@pytest.mark.parametrize("note", [None, "", "many"])
def test_a_deployment_that_lost_its_note_remembers_by_its_own_number(note: str | None) -> None:
    body = deployment(replicas=4)
    body["metadata"]["annotations"] = {} if note is None else {names.PROMISED: note}
    assert seen(line(promoted()), body, traffic_service("m-1")).situation.replicas == 4


# -- specs that cannot be acted on


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        (BROKEN, Reason.INVALID_SPEC, "spec.accelerator: give either class"),
        (UNKNOWN_CLASS, Reason.UNKNOWN_ACCELERATOR_CLASS, '"nvidia-t4" is not defined'),
        (BAD_OVERLAY, Reason.BAD_OVERLAY, "removes the container server"),
    ],
)
def test_a_spec_that_cannot_be_acted_on_is_a_problem_and_keeps_what_runs(
    spec: dict[str, Any], reason: Reason, words: str
) -> None:
    found = seen(*serving(3), **spec)
    assert found.problem is not None
    assert found.problem.reason is reason
    assert words in found.problem.message
    assert found.desired is None
    assert (found.situation.desired, found.situation.replicas) == ("m-1", 3)


@pytest.mark.parametrize("spec", [UNKNOWN_CLASS, BAD_OVERLAY])
def test_scaling_and_a_roll_under_way_do_not_wait_for_the_spec_to_be_mended(spec: dict[str, Any]) -> None:
    assert seen(*serving(3), replicas=5, **spec).situation.replicas == 5
    assert seen(*rolling(2, 2, promised=3), **spec).situation.desired == "m-2"


@pytest.mark.parametrize("spec", [BROKEN, UNKNOWN_CLASS, BAD_OVERLAY])
def test_a_first_spec_that_cannot_be_acted_on_leaves_nothing_to_do(spec: dict[str, Any]) -> None:
    assert seen(**spec).situation.desired == ""


# -- the rest


def test_paused_is_live() -> None:
    assert seen(rollout={"paused": True}).situation.paused
    assert not seen().situation.paused


def test_pods_are_counted_for_their_revision() -> None:
    stranger = pod(name="z")
    del stranger["metadata"]["labels"][names.REVISION]
    found = seen(*serving(1), pods=(pod(name="x"), pod("m-2", name="y"), stranger)).situation
    assert {name: load.pods for name, load in found.workloads.items()} == {"m-1": 1, "m-2": 1}
    assert not found.workload("m-2").exists


def test_a_revision_is_pinned_by_its_config_map() -> None:
    found = seen(*serving(1), live(pin("ml", "m", "m-1", DIGEST))).situation.entry("m-1")
    assert found is not None
    assert (found.digest, found.pinned) == (DIGEST, True)


def test_a_service_knows_its_name() -> None:
    assert (seen().namespace, seen().name) == ("ml", "m")


def marked(body: Body, lease: str) -> Body:
    return body | {"metadata": body["metadata"] | {"annotations": {names.LEASE: lease}}}


def test_the_service_that_carries_requests_says_who_keeps_it_all() -> None:
    old, new = marked(line(entry("m-1", 1)), "a/old"), marked(line(entry("m-2", 2)), "b/new")
    runs, serves = marked(deployment("m-1"), "c/runs"), marked(traffic_service("m-1"), "d/serves")
    assert kept_by("m", children()) == ""
    assert kept_by("m", children(old, new)) == "b/new"
    assert kept_by("m", children(old, new, runs)) == "c/runs"
    assert kept_by("m", children(old, new, runs, serves)) == "d/serves"
    assert kept_by("m", children(old, runs, traffic_service("m-1"))) == "", "nobody's"
