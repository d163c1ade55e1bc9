"""The table of conditions (docs/conditions.md), row by row; what moves a status, and what must not."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.status import ModelServiceStatus
from modelservice_operator.api.types import Evaluation
from modelservice_operator.observe import Problem, Seen
from modelservice_operator.report import changes, status
from modelservice_operator.rollout.plan import decide
from modelservice_operator.rollout.situation import Evaluated, Trouble
from unit.operator.makers import DIGEST, Body, children, entry, parsed, promoted, service, traffic_service
from unit.operator.situations import (
    CANDIDATE,
    CRASH,
    FIRST,
    LATER,
    NOW,
    PASSED,
    QUOTA,
    ROLLING,
    SETTLED,
    STABLE,
    TABLE,
    UNSCHEDULABLE,
    Row,
    candidate,
    load,
    saw,
    told,
)


def conditions(seen: Seen) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in told(seen)["conditions"]}


def message(seen: Seen, kind: str = "Ready") -> str:
    return next(str(each["message"]) for each in told(seen)["conditions"] if each["type"] == kind)


def test_the_last_change_of_replicas_is_told_until_another_one_or_another_engine() -> None:
    seen, plan = SETTLED, decide(SETTLED.situation)
    change = {"replicas": 3, "rule": "Load", "message": "x", "decidedTime": "2026-01-01T00:00:00Z"}
    found = status(seen, plan, None, NOW, autoscaled=("True", Reason.SCALING, "y"), scaled=change)
    assert found["autoscaling"] == change
    ModelServiceStatus.model_validate(found)
    assert {each["type"] for each in found["conditions"]} == {"Ready", "Available", "AutoscalerReady"}
    later = saw(m1=load(3), before=found)
    assert status(later, plan, None, NOW, scaled={})["autoscaling"] == change
    assert "autoscaling" not in status(later, plan, None, NOW)


# -- the table


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_the_table_of_conditions(row: Row) -> None:
    found = conditions(row.seen)
    assert found["Ready"] == row.ready
    assert found["Available"][0] == row.available
    assert found.get("Reconciling") == (("True", row.ready[1]) if row.kstatus == "InProgress" else None)
    assert found.get("Stalled") == (("True", row.ready[1]) if row.kstatus == "Failed" else None)


def test_every_condition_is_about_the_generation_that_was_seen() -> None:
    found = told(SETTLED)
    assert found["observedGeneration"] == 3
    assert {each["observedGeneration"] for each in found["conditions"]} == {3}


def test_a_problem_is_told_in_its_own_words() -> None:
    seen = saw(problem=Problem(Reason.NAME_CONFLICT, "Service 'm' belongs to others."), m1=load(3))
    assert message(seen, "Stalled") == message(seen, "Ready") == "Service 'm' belongs to others."


# -- Ready, once it was


def settled_before(**more: Any) -> Body:  # noqa: ANN401 - as `saw`
    return told(saw(m1=load(3), **more))


def test_a_pod_that_goes_and_a_number_that_grows_leave_ready_as_it_is() -> None:
    assert conditions(saw(m1=load(3, 2), before=settled_before()))["Ready"] == ("True", "Ready")
    assert conditions(saw(replicas=9, m1=load(9, 3), before=settled_before()))["Ready"] == ("True", "Ready")
    assert conditions(saw(m1=load(3, 2, CRASH), before=settled_before()))["Ready"] == ("True", "Ready")


def test_ready_ends_with_the_last_ready_pod_and_comes_back_with_all() -> None:
    down = saw(m1=load(3, 0), before=settled_before())
    assert conditions(down)["Ready"] == ("False", "ModelLoading")
    assert conditions(saw(m1=load(3, 1), before=told(down)))["Ready"][0] == "False"
    assert conditions(saw(m1=load(3), before=told(down)))["Ready"][0] == "True"


def test_zero_to_some_and_back() -> None:
    none = told(saw(replicas=0, m1=load(0)))
    grows = saw(replicas=2, m1=load(2, 0), before=none)
    assert conditions(grows)["Ready"] == ("False", "ModelLoading")
    assert conditions(saw(replicas=2, m1=load(2), before=told(grows)))["Ready"] == ("True", "Ready")
    assert conditions(saw(replicas=0, m1=load(0), before=settled_before()))["Ready"] == ("True", "ScaledToZero")


def test_a_new_revision_earns_ready_anew() -> None:
    """It has taken over, with less than all pods; what was Ready before was another revision."""
    taken_over = saw("m-2", ledger=(STABLE, promoted("m-2", 2)), traffic="m-2", m2=load(3, 2), before=settled_before())
    assert conditions(taken_over)["Ready"] == ("False", "ModelLoading")


# -- TemplateOutdated


def test_an_outdated_template_is_told_and_changes_no_other_condition() -> None:
    plan = decide(SETTLED.situation)
    found = status(SETTLED, plan, None, NOW, outdated="Revision m-1 runs an older template.")
    *others, last = found["conditions"]
    assert others == told(SETTLED)["conditions"]
    assert (last["type"], last["status"], last["reason"]) == ("TemplateOutdated", "True", "RenderedDifferently")
    assert last["message"] == "Revision m-1 runs an older template."


# -- Scheduled


GPU = {"accelerator": {"resource": "nvidia.com/gpu"}}


def test_scheduled_is_there_where_devices_are_asked_for_or_a_pod_has_no_room() -> None:
    assert "Scheduled" not in conditions(SETTLED)
    assert "Scheduled" not in conditions(saw(replicas=0, m1=load(0), spec=GPU))
    assert conditions(saw(m1=load(3), spec=GPU))["Scheduled"] == ("True", "Scheduled")
    fifth = saw(m1=load(5, 4, UNSCHEDULABLE), spec=GPU)
    assert conditions(fifth)["Scheduled"] == ("False", "Unschedulable")
    assert message(fifth, "Scheduled") == UNSCHEDULABLE.message
    assert conditions(candidate(UNSCHEDULABLE))["Scheduled"] == ("False", "Unschedulable")
    assert conditions(candidate(QUOTA))["Scheduled"] == ("False", "WaitingForCapacity")


# -- nothing flaps


def test_a_transition_time_moves_with_the_status_of_its_condition_alone() -> None:
    before = told(candidate(CRASH))
    other_reason = {
        each["type"]: each for each in told(saw(**_again(candidate(UNSCHEDULABLE), before)), LATER)["conditions"]
    }
    assert other_reason["Ready"]["reason"] == "WaitingForCapacity"
    assert other_reason["Ready"]["lastTransitionTime"] == NOW
    assert other_reason["Scheduled"]["lastTransitionTime"] == LATER
    mended = {each["type"]: each for each in told(saw(m1=load(3), before=before), LATER)["conditions"]}
    assert mended["Ready"]["lastTransitionTime"] == LATER
    assert mended["Available"]["lastTransitionTime"] == NOW


def _again(seen: Seen, before: Body) -> dict[str, Any]:
    """The arguments of `saw` for the same candidate, with what was reported before."""
    now = seen.situation
    return {
        "desired": now.desired,
        "ledger": now.ledger,
        "before": before,
        **{name.replace("-", ""): workload for name, workload in now.workloads.items()},
    }


@pytest.mark.parametrize(
    ("once", "again"),
    [
        ("2026-01-01T00:00:05.123Z E fatal", "2026-01-01T00:05:11.9Z E fatal"),
        ("dial 10.0.0.7:43562->10.0.0.1:53: timeout", "dial 10.0.0.7:39911->10.0.0.1:53: timeout"),
        ("<Model object at 0x7f3c2a>", "<Model object at 0x7e11b0>"),
        ("[pid 17] out of memory", "[pid 7] out of memory"),
        ("gave up after 1200ms", "gave up after 1199ms"),
        ("a cause", ""),
    ],
)
def test_last_words_that_differ_with_each_try_are_told_once(once: str, again: str) -> None:
    before = told(candidate(Trouble(CRASH.reason, CRASH.message, once)))
    seen = saw(**_again(candidate(Trouble(CRASH.reason, CRASH.message, again)), before))
    assert changes(before, told(seen, LATER)) == {}


@pytest.mark.parametrize(
    ("once", "again"),
    [
        (CRASH, Trouble(CRASH.reason, CRASH.message, "KeyError: 'b'")),
        (CRASH, Trouble(CRASH.reason, "Container server exits with code 137 (OOMKilled)")),
        (
            Trouble(CRASH.reason, "m", "no such file: model-1.bin"),
            Trouble(CRASH.reason, "m", "no such file: model-2.bin"),
        ),
        (Trouble(CRASH.reason, "m"), CRASH),
        (UNSCHEDULABLE, Trouble(UNSCHEDULABLE.reason, UNSCHEDULABLE.message.replace("1 Insuf", "2 Insuf"))),
    ],
)
def test_another_cause_is_told_at_once(once: Trouble, again: Trouble) -> None:
    seen = saw(**_again(candidate(again), told(candidate(once))))
    assert message(seen) == f"Revision m-2: {again.sentence}"


def test_the_same_words_of_another_revision_are_told_anew() -> None:
    before = told(candidate(CRASH))
    third = saw("m-3", ledger=(STABLE, entry("m-3", 3)), m1=load(3), m3=load(1, 0, CRASH), before=before)
    assert message(third) == f"Revision m-3: {CRASH.sentence}"


EVERYTHING = [SETTLED, ROLLING, CANDIDATE, FIRST, candidate(CRASH), saw(m1=load(3, 1)), saw(replicas=0, m1=load(0))]


@pytest.mark.parametrize("seen", EVERYTHING)
def test_seeing_the_same_again_changes_nothing(seen: Seen) -> None:
    before = told(seen)
    again = Seen(seen.service | {"status": before}, seen.children, seen.situation, seen.spec, problem=seen.problem)
    assert changes(before, told(again, LATER)) == {}


@pytest.mark.parametrize(
    "seen",
    [saw("m-2", 5, ledger=(STABLE, PASSED), traffic="m-1 m-2", m1=load(n), m2=load(5 - n)) for n in range(1, 5)]
    + [saw(replicas=n, m1=load(n, 1), before=settled_before()) for n in (3, 7)],
)
def test_no_message_counts_or_tells_the_time(seen: Seen) -> None:
    for each in told(seen)["conditions"]:
        assert not re.search(r"\d", re.sub(r"m-\d", "", each["message"])), each["message"]


# -- the rest of the status


def test_the_status_in_full_while_two_revisions_share_the_traffic() -> None:
    found = told(saw("m-2", ledger=(STABLE, PASSED), traffic="m-1 m-2", m1=load(2), m2=load(2, 1)))
    del found["conditions"]
    assert found == {
        "observedGeneration": 3,
        "url": "http://m.ml.svc:8080",
        "replicas": 4,
        "readyReplicas": 3,
        "selector": "modelservice.dev/name=m,modelservice.dev/revision in (m-1,m-2)",
        "revisions": [
            {
                "name": "m-1",
                "role": "Stable",
                "model": f"pvc://models/m@{DIGEST}",
                "replicas": 2,
                "ready": 2,
                "weight": "67%",
            },
            {"name": "m-2", "role": "Candidate", "model": f"@{DIGEST}", "replicas": 2, "ready": 1, "weight": "33%"},
        ],
        "rollout": {"phase": "Rolling", "revision": "m-2"},
    }


def test_a_candidate_without_traffic_has_no_weight_and_an_old_revision_is_previous() -> None:
    assert [(each["role"], each["weight"]) for each in told(CANDIDATE)["revisions"]] == [
        ("Stable", "100%"),
        ("Candidate", "0%"),
    ]
    leaving = saw("m-2", ledger=(STABLE, promoted("m-2", 2)), traffic="m-2", m1=load(1), m2=load(3))
    assert [(each["name"], each["role"]) for each in told(leaving)["revisions"]] == [
        ("m-2", "Stable"),
        ("m-1", "Previous"),
    ]


def test_two_revisions_without_a_ready_pod_have_no_weight() -> None:
    dark = saw("m-2", ledger=(STABLE, PASSED), traffic="m-1 m-2", m1=load(2, 0), m2=load(2, 0))
    assert {each["weight"] for each in told(dark)["revisions"]} == {"0%"}


def test_an_old_line_of_the_ledger_without_pods_is_not_shown() -> None:
    assert [each["name"] for each in told(saw(ledger=(STABLE, entry("m-0", 9)), m1=load(3)))["revisions"]] == ["m-1"]


def test_before_the_first_promotion_the_selector_of_autoscalers_selects_nothing() -> None:
    assert told(FIRST)["selector"] == "modelservice.dev/name=m,modelservice.dev/revision in (none)"


def test_the_url_appears_with_the_service_and_stays() -> None:
    nothing = Seen(service(), children(), FIRST.situation, parsed())
    assert "url" not in told(nothing)
    known = Seen(service(status={"url": "http://m.ml.svc:8080"}), children(), FIRST.situation, parsed())
    assert told(known)["url"] == "http://m.ml.svc:8080"


def test_the_url_is_of_the_scheme_that_the_service_has() -> None:
    secured = children(traffic_service("m-1", https=True))
    assert told(Seen(service(), secured, FIRST.situation, parsed()))["url"] == "https://m.ml.svc:8080"
    other = children(traffic_service("m-1"))
    other.services["m"]["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c"  # somebody's
    assert told(Seen(service(), other, FIRST.situation, parsed()))["url"] == "http://m.ml.svc:8080"


@pytest.mark.parametrize("seen", [*EVERYTHING, saw("", problem=Problem(Reason.INVALID_SPEC, "No."), traffic="")])
def test_every_status_is_one_that_the_crd_allows(seen: Seen) -> None:
    ModelServiceStatus.model_validate(told(seen), by_alias=True, by_name=False)


# -- the patch


def merged(target: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON
    """RFC 7386, as the API server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=8,
)
STATUSES = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(STATUSES, STATUSES)
def test_the_patch_turns_the_old_status_into_the_new(old: Body, new: Body) -> None:
    before = copy.deepcopy(old)
    assert merged(old, changes(old, new)) == new
    assert old == before


@given(STATUSES)
def test_what_is_equal_needs_no_patch(old: Body) -> None:
    assert changes(old, copy.deepcopy(old)) == {}


@pytest.mark.parametrize(
    ("note", "shown"),
    [("12", 12), ("", None), ("many", None), ("0", None), ("1e99", None), ("12.7", 12)],
)
def test_what_an_evaluation_measured_is_shown_of_the_stable_revision(note: str, shown: int | None) -> None:
    stable = promoted(measured={"saturation_concurrency": note} if note else {})
    found = told(saw("m-2", ledger=(stable, entry("m-2", 2, measured={"saturation_concurrency": "7"})), m1=load(3)))
    assert found.get("measured") == ({"saturationConcurrency": shown} if shown else None)
    ModelServiceStatus.model_validate(found)


def test_an_evaluation_whose_pod_does_not_run_is_told_with_its_reason() -> None:
    def evaluating(trouble: Trouble) -> Seen:
        seen = saw("m-2", ledger=(STABLE, entry("m-2", 2)), m1=load(3), m2=load(1))
        terms = Evaluation.model_validate(
            {"dataset": {"uri": "s3://models/x.npz"}, "metrics": [{"name": "f1", "min": "0.9"}]}
        )
        situation = replace(seen.situation, evaluation=terms, evaluated={"m-2": Evaluated(trouble=trouble)})
        return replace(seen, situation=situation)

    pull = Trouble(Reason.IMAGE_PULL_FAILED, "Image cannot be pulled", "no such host")
    assert conditions(evaluating(pull))["Ready"] == ("False", "ImagePullFailed")
    assert message(evaluating(pull)) == "Evaluation of revision m-2: Image cannot be pulled: no such host"
    found = conditions(evaluating(UNSCHEDULABLE))
    assert found["Ready"] == ("False", "WaitingForCapacity")
    assert found["Scheduled"] == ("False", "Unschedulable")
