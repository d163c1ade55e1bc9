"""How a revision earns its traffic: the cases of the table in `rollout.plan` that are about proofs, steps and room."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import Evaluation, Rollout
from modelservice_operator.monitoring.readings import Counted, Reading
from modelservice_operator.rollout.decision import Judge, Mark, Phase
from modelservice_operator.rollout.plan import decide, gives_something_up
from modelservice_operator.rollout.situation import Entry, Evaluated, Orders, Situation, Trouble, Verdict, Workload

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JUST_NOW, LONG_BEFORE = "2026-01-01T11:59:50Z", "2026-01-01T11:00:00Z"
EVALUATION = Evaluation.model_validate(
    {"dataset": {"uri": "s3://models/x.npz"}, "metrics": [{"name": "f1", "min": "0.9"}]}
)
GPU = {"spec": {"containers": [{"name": "server", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}
NO_ROOM = Trouble(Reason.UNSCHEDULABLE, "0/8 nodes are available")
STABLE = Entry("a", 1, promotion=1, verdict=Verdict.PROMOTED, decided_time=LONG_BEFORE, template=GPU)
NEXT = Entry("b", 2, template=GPU)
PASSED = replace(NEXT, verdict=Verdict.PASSED)
FAILED = replace(NEXT, verdict=Verdict.FAILED, reason=Reason.GATE_FAILED, message="f1 is 0.5.")


def up(pods: int, **more: Any) -> Workload:  # noqa: ANN401 - any of its fields
    return Workload(**{"wanted": pods, "pods": pods, "ready": pods, "available": pods} | more)


def saw(*ledger: Entry, a: Workload, b: Workload, traffic: str = "a", **more: Any) -> Situation:  # noqa: ANN401 - any of its fields
    """Revision b is to take over from a, with three replicas."""
    rollout = Rollout.model_validate(more.pop("rollout", {}))
    fields = {"desired": "b", "replicas": 3, "now": NOW} | more
    return Situation(ledger=ledger, workloads={"a": a, "b": b}, traffic=frozenset(traffic), rollout=rollout, **fields)


STEPS = {"steps": [{"weight": "25%", "pause": "5m"}, {"weight": "50%"}]}
BLUE_GREEN = {"steps": [{"weight": "100%", "pause": "1m"}]}
ANALYSED = {"analysis": {"minRequests": 100}}


# -- an evaluation


def test_an_available_pod_is_evaluated_before_it_gets_traffic() -> None:
    plan = decide(saw(STABLE, NEXT, a=up(3), b=up(1), evaluation=EVALUATION))
    assert (plan.phase, plan.evaluate, plan.traffic) == (Phase.EVALUATING, "b", ("a",))
    assert plan.replicas == {"a": 3, "b": 1}


def test_one_pod_is_evaluated_as_several_would_show_more_than_one_can_do() -> None:
    first, several = replace(NEXT, sequence=1), up(3)
    alone = {"a": up(0, exists=False), "traffic": "", "evaluation": EVALUATION}
    assert decide(saw(first, b=up(0, exists=False), **alone)).replicas == {"b": 1}
    assert decide(saw(first, b=several, **alone)).replicas == {"b": 1}
    assert decide(saw(STABLE, NEXT, a=up(3), b=several, evaluation=EVALUATION)).replicas == {"a": 3, "b": 1}
    taking_over = {**alone, "has_service": False}
    assert decide(saw(first, b=up(1), **taking_over)).evaluate == "b"
    passed = decide(saw(replace(PASSED, sequence=1), b=up(1), **taking_over))
    assert (passed.replicas, passed.ledger) == ({"b": 3}, None), "all are available before it takes over"


def test_what_reaches_its_bounds_passes_and_what_does_not_fails_with_its_numbers() -> None:
    def judged(score: str) -> Judge:
        evaluated = {"b": Evaluated({"f1": score}, "sha256:1")}
        found = decide(saw(STABLE, NEXT, a=up(3), b=up(1), evaluation=EVALUATION, evaluated=evaluated)).ledger
        assert isinstance(found, Judge)
        return found

    assert judged("0.95") == Judge("b", Verdict.PASSED, measured={"f1": "0.95", "dataset": "sha256:1"})
    assert (judged("0.5").verdict, judged("0.5").reason) == (Verdict.FAILED, Reason.GATE_FAILED)
    assert judged("0.5").message == "f1 is 0.5, and must be at least 0.9."


def test_an_evaluation_without_a_verdict_is_tried_again_and_says_why() -> None:
    evaluated = {"b": Evaluated(problem="No such bucket.")}
    plan = decide(saw(STABLE, NEXT, a=up(3), b=up(1), evaluation=EVALUATION, evaluated=evaluated))
    assert (plan.evaluate, plan.ledger) == ("b", None)
    assert plan.message.endswith("again: No such bucket.")


def test_the_first_revision_is_evaluated_too_and_serves_nobody_if_it_fails() -> None:
    first = replace(NEXT, sequence=1)
    plan = decide(saw(first, a=up(0, exists=False), b=up(3), traffic="", evaluation=EVALUATION))
    assert (plan.evaluate, plan.traffic) == ("b", ())
    plan = decide(saw(FAILED, a=up(0, exists=False), b=up(3), traffic="", evaluation=EVALUATION))
    assert (plan.phase, plan.replicas, plan.traffic) == (Phase.FAILED, {}, ())
    assert plan.message == "Revision b: f1 is 0.5."


def test_without_replicas_nothing_is_evaluated_and_nothing_promoted() -> None:
    plan = decide(saw(STABLE, NEXT, a=up(0), b=up(0), replicas=0, evaluation=EVALUATION))
    assert (plan.phase, plan.evaluate, plan.ledger) == (Phase.WAITING, "", None)


def test_what_was_promoted_before_needs_no_proof() -> None:
    before = replace(NEXT, promotion=1, verdict=Verdict.PROMOTED)
    now = replace(STABLE, promotion=2)
    plan = decide(saw(now, before, a=up(3), b=up(1), evaluation=EVALUATION, is_spent=True, rollout=STEPS | ANALYSED))
    assert plan.ledger == Judge("b", Verdict.PASSED)


# -- failures


def test_a_failed_revision_goes_and_the_stable_one_is_held() -> None:
    plan = decide(saw(STABLE, FAILED, a=up(3), b=up(1)))
    assert (plan.phase, plan.replicas, plan.traffic) == (Phase.FAILED, {"a": 3}, ("a",))
    assert plan.message == "Revision b: f1 is 0.5."


def test_a_failure_is_forgotten_when_the_spec_goes_elsewhere_or_another_try_is_ordered() -> None:
    elsewhere = saw(STABLE, FAILED, a=up(3), b=up(0), desired="a")
    assert decide(elsewhere).ledger == Judge("b", Verdict.UNDECIDED)
    given_up = replace(FAILED, promotion=2)  # it was promoted once, which is no news now
    assert decide(saw(STABLE, given_up, a=up(3), b=up(0), desired="a")).ledger == Judge("b", Verdict.UNDECIDED)
    retried = saw(STABLE, FAILED, a=up(3), b=up(0), orders=Orders(retry="1"))
    assert decide(retried).ledger == Judge("b", Verdict.UNDECIDED)
    again = saw(STABLE, replace(FAILED, retried="1"), a=up(3), b=up(0), orders=Orders(retry="1"))
    assert decide(again).phase is Phase.FAILED


def test_a_failed_revision_loses_its_traffic_at_once_while_any_stable_pod_can_answer() -> None:
    plan = decide(saw(STABLE, FAILED, a=up(1), b=up(2), traffic="ab"))
    assert (plan.phase, plan.replicas, plan.traffic) == (Phase.RETURNING, {"a": 3}, ("a",))
    plan = decide(saw(STABLE, FAILED, a=up(1, available=0), b=up(3), traffic="ab"))
    assert plan.traffic == ("a", "b")
    assert plan.replicas["b"] == 3


def test_a_revision_of_which_no_pod_is_ready_in_time_has_failed() -> None:
    crash = Trouble(Reason.CRASH_LOOP, "Container server exits with code 1", "KeyError")
    load = up(1, ready=0, available=0, troubles=(crash,), loads_since=NOW - timedelta(minutes=9))
    assert decide(saw(STABLE, NEXT, a=up(3), b=load)).again == timedelta(minutes=1)
    plan = decide(saw(STABLE, NEXT, a=up(3), b=replace(load, loads_since=NOW - timedelta(minutes=10))))
    assert isinstance(plan.ledger, Judge)
    assert plan.ledger.reason is Reason.NEVER_READY
    assert plan.ledger.message.endswith("Container server exits with code 1: KeyError")


def test_without_a_stable_revision_a_crash_is_no_failure_but_goes_on() -> None:
    load = up(1, ready=0, available=0, loads_since=NOW - timedelta(hours=1))
    assert decide(saw(NEXT, a=up(0, exists=False), b=load, traffic="")).phase is Phase.STARTING


# -- orders


def test_a_rollback_gives_the_desired_revision_up_wherever_it_stands() -> None:
    order = Orders(rollback="b")
    rolling = decide(saw(STABLE, PASSED, a=up(2), b=up(1), traffic="ab", orders=order)).ledger
    assert isinstance(rolling, Judge)
    assert (rolling.verdict, rolling.reason) == (Verdict.FAILED, Reason.ROLLED_BACK)
    in_force = replace(NEXT, promotion=2, verdict=Verdict.PROMOTED)
    assert isinstance(decide(saw(STABLE, in_force, a=up(0), b=up(3), traffic="b", orders=order)).ledger, Judge)
    given_up = replace(in_force, verdict=Verdict.FAILED)
    plan = decide(saw(STABLE, given_up, a=up(0), b=up(3), traffic="b", orders=order))
    assert (plan.replicas, plan.traffic) == ({"a": 1, "b": 3}, ("b",))


def test_there_is_no_rollback_without_anything_to_go_back_to() -> None:
    only = replace(NEXT, promotion=1, verdict=Verdict.PROMOTED)
    assert (
        decide(saw(only, a=up(0, exists=False), b=up(3), traffic="b", orders=Orders(rollback="b"))).phase
        is Phase.SETTLED
    )


def test_a_promotion_by_hand_needs_pods_and_nothing_else() -> None:
    order = Orders(promote="b")
    seen = saw(STABLE, NEXT, a=up(3), b=up(1), evaluation=EVALUATION, is_spent=True, orders=order)
    assert decide(seen).ledger == Judge("b", Verdict.PASSED)
    full = saw(STABLE, PASSED, a=up(0), b=up(3), traffic="ab", rollout=STEPS | ANALYSED, orders=order)
    assert decide(full).ledger == Judge("b", Verdict.PROMOTED, 2)


def test_a_spent_budget_holds_promotions_and_no_way_back() -> None:
    assert decide(saw(STABLE, NEXT, a=up(3), b=up(0), is_spent=True)).phase is Phase.FROZEN
    rolling = decide(saw(STABLE, PASSED, a=up(2), b=up(2), traffic="ab", is_spent=True))
    assert (rolling.phase, rolling.replicas) == (Phase.FROZEN, {"a": 1, "b": 2})
    thawed = {"freezeOnBudgetExhausted": False}
    assert decide(saw(STABLE, NEXT, a=up(3), b=up(0), is_spent=True, rollout=thawed)).phase is Phase.ROLLING


# -- steps


def test_a_step_is_noted_when_it_is_reached_and_waited_out() -> None:
    at_a_quarter = {"a": up(3), "b": up(1), "traffic": "ab", "rollout": STEPS}
    assert decide(saw(STABLE, PASSED, **at_a_quarter)).ledger == Mark("b", 1)
    reached = replace(PASSED, step=1, step_time=JUST_NOW)
    plan = decide(saw(STABLE, reached, **at_a_quarter))
    assert (plan.phase, plan.replicas, plan.again) == (
        Phase.ANALYSING,
        {"a": 3, "b": 1},
        timedelta(minutes=4, seconds=50),
    )
    plan = decide(saw(STABLE, replace(reached, step_time=LONG_BEFORE), **at_a_quarter))
    assert (plan.phase, plan.replicas) == (Phase.ROLLING, {"a": 2, "b": 1})


def test_after_the_last_step_it_rolls_on_to_the_end() -> None:
    reached = replace(PASSED, step=2, step_time=LONG_BEFORE)
    assert decide(saw(STABLE, reached, a=up(2), b=up(2), traffic="ab", rollout=STEPS)).replicas == {"a": 1, "b": 2}
    assert decide(saw(STABLE, reached, a=up(0), b=up(3), traffic="ab", rollout=STEPS)).ledger == Judge(
        "b", Verdict.PROMOTED, 2
    )


def test_blue_and_green_have_all_their_pods_until_one_is_promoted() -> None:
    assert decide(saw(STABLE, PASSED, a=up(3), b=up(1), rollout=BLUE_GREEN)).replicas == {"a": 3, "b": 3}
    plan = decide(saw(STABLE, PASSED, a=up(3), b=up(3), rollout=BLUE_GREEN))
    assert (plan.replicas, plan.traffic) == ({"a": 3, "b": 3}, ("b",))
    assert decide(saw(STABLE, PASSED, a=up(3), b=up(3), traffic="b", rollout=BLUE_GREEN)).ledger == Mark("b", 1)
    reached = replace(PASSED, step=1, step_time=JUST_NOW)
    plan = decide(saw(STABLE, reached, a=up(3), b=up(3), traffic="b", rollout=BLUE_GREEN))
    assert (plan.replicas, plan.traffic) == ({"a": 3, "b": 3}, ("b",))
    reached = replace(reached, step_time=LONG_BEFORE)
    plan = decide(saw(STABLE, reached, a=up(3), b=up(3), traffic="b", rollout=BLUE_GREEN))
    assert plan.ledger == Judge("b", Verdict.PROMOTED, 2)


def test_a_newer_spec_replaces_what_has_yet_to_prove_itself() -> None:
    passed = replace(PASSED, measured={"f1": "0.95"})
    seen = saw(STABLE, passed, Entry("c", 3), a=up(3), b=up(1), traffic="ab", rollout=STEPS, desired="c")
    found = decide(seen).ledger
    assert isinstance(found, Judge)
    assert (found.revision, found.verdict, found.reason) == ("b", Verdict.SUPERSEDED, Reason.NEWER_SPEC)
    assert found.measured == passed.measured


def test_a_newer_spec_waits_for_no_pause_not_even_the_last() -> None:
    rolling = {"a": up(2), "b": up(2), "traffic": "ab", "rollout": {"steps": [{"weight": "50%", "pause": "1m"}]}}
    reached, newer = replace(PASSED, step=1, step_time=JUST_NOW), Entry("c", 3)
    found = decide(saw(STABLE, reached, newer, **rolling, desired="c")).ledger
    assert isinstance(found, Judge)
    assert (found.revision, found.verdict) == ("b", Verdict.SUPERSEDED)
    plan = decide(saw(STABLE, replace(reached, step_time=LONG_BEFORE), newer, **rolling, desired="c"))
    assert plan.message == "Revision c starts when the roll to b is complete."


# -- live requests


def reading(requests: int, errors: int = 0, seconds: float = 0.1) -> Reading:
    return Reading(Counted(requests, errors, {seconds / 2: 0.0, seconds: float(requests), math.inf: float(requests)}))


@pytest.mark.parametrize(
    ("answers", "reason"),
    [(reading(100, errors=50), Reason.ERROR_RATE), (reading(100, seconds=0.2), Reason.LATENCY_REGRESSION)],
)
def test_who_answers_worse_is_taken_back_in_the_middle_of_a_pause(answers: Reading, reason: Reason) -> None:
    reached = replace(PASSED, step=1, step_time=JUST_NOW)
    readings = {"a": reading(300), "b": answers}
    seen = saw(STABLE, reached, a=up(3), b=up(1), traffic="ab", rollout=STEPS | ANALYSED, readings=readings)
    found = decide(seen).ledger
    assert isinstance(found, Judge)
    assert (found.verdict, found.reason) == (Verdict.FAILED, reason)
    assert found.measured["requests"] == "100"


REACHED = replace(PASSED, step=1, step_time=LONG_BEFORE)


def test_where_live_requests_judge_the_first_pod_is_a_step_if_there_are_no_others() -> None:
    plan = decide(saw(STABLE, PASSED, a=up(3), b=up(1), traffic="ab", rollout=ANALYSED))
    assert plan.ledger == Mark("b", 1)
    judged = {"a": up(3), "b": up(1), "traffic": "ab", "rollout": ANALYSED}
    plan = decide(saw(STABLE, REACHED, **judged, readings={"b": reading(99)}))
    assert (plan.phase, plan.replicas) == (Phase.ANALYSING, {"a": 3, "b": 1})
    plan = decide(saw(STABLE, REACHED, **judged, readings={"b": reading(100)}))
    assert (plan.phase, plan.replicas) == (Phase.ROLLING, {"a": 2, "b": 1})


def test_who_has_not_answered_enough_waits_unless_an_evaluation_speaks_for_it() -> None:
    waiting = {"a": up(0), "b": up(3), "traffic": "ab", "rollout": ANALYSED, "readings": {"b": reading(99)}}
    plan = decide(saw(STABLE, REACHED, **waiting))
    assert (plan.phase, plan.ledger) == (Phase.ANALYSING, None)
    assert "100 requests" in plan.message
    evaluated = replace(REACHED, measured={"dataset": "sha256:1"})
    assert isinstance(decide(saw(STABLE, evaluated, **waiting)).ledger, Judge)
    holds = waiting | {"rollout": {"analysis": {"minRequests": 100, "onNoTraffic": "Hold"}}}
    assert decide(saw(STABLE, evaluated, **holds)).phase is Phase.ANALYSING
    enough = decide(saw(STABLE, REACHED, **waiting | {"readings": {"b": reading(100)}})).ledger
    assert isinstance(enough, Judge)
    assert enough.measured["requests"] == "100"


def test_whose_metrics_cannot_be_read_is_not_taken_for_idle() -> None:
    evaluated = replace(REACHED, measured={"dataset": "sha256:1"})
    silent = {"b": Reading(Counted(), silent=("pod b-1 does not answer",))}
    for readings, words in (({}, "metrics of revision b."), (silent, "pod b-1 does not answer.")):
        full = saw(STABLE, evaluated, a=up(0), b=up(3), traffic="ab", rollout=ANALYSED, readings=readings)
        plan = decide(full)
        assert (plan.phase, plan.ledger) == (Phase.ANALYSING, None)
        assert plan.message.endswith(words)


def test_a_single_pod_takes_its_steps_too() -> None:
    plan = decide(saw(STABLE, PASSED, a=up(1), b=up(1), replicas=1, rollout=STEPS))
    assert (plan.ledger, plan.traffic) == (None, ("a", "b"))


# -- room


def homeless(seconds: int) -> Workload:
    since = NOW - timedelta(seconds=seconds)
    return up(1, ready=0, available=0, troubles=(NO_ROOM,), unplaced_since=since)


def test_an_old_pod_makes_room_when_patience_ends() -> None:
    plan = decide(saw(STABLE, NEXT, a=up(3), b=homeless(599)))
    assert (plan.phase, plan.replicas, plan.again) == (Phase.WAITING, {"a": 3, "b": 1}, timedelta(seconds=1))
    assert decide(saw(STABLE, NEXT, a=up(3), b=homeless(600))).ledger == Mark("b", 0, makes_room=True)
    replacing = replace(NEXT, makes_room=True)
    assert decide(saw(STABLE, replacing, a=up(3), b=homeless(600))).replicas == {"a": 2, "b": 1}
    rolling = replace(PASSED, makes_room=True)
    assert decide(saw(STABLE, rolling, a=up(2), b=up(1), traffic="ab")).replicas == {"a": 1, "b": 1}
    assert decide(saw(STABLE, rolling, a=up(1), b=up(1), traffic="ab")).replicas == {"a": 1, "b": 2}


def test_on_the_way_back_a_pod_of_what_is_left_makes_room_for_the_old_when_patience_ends() -> None:
    back = {"desired": "a", "traffic": "ab"}
    stuck = up(3, ready=2, available=2, troubles=(NO_ROOM,), unplaced_since=NOW - timedelta(seconds=599))
    plan = decide(saw(STABLE, PASSED, a=stuck, b=up(1), **back))
    assert (plan.phase, plan.replicas, plan.again) == (Phase.WAITING, {"a": 3, "b": 1}, timedelta(seconds=1))
    seen = saw(STABLE, PASSED, a=replace(stuck, unplaced_since=NOW - timedelta(seconds=600)), b=up(1), **back)
    assert decide(seen).ledger == Mark("b", 0, makes_room=True)
    assert gives_something_up(seen, decide(seen))
    plan = decide(saw(STABLE, replace(PASSED, makes_room=True), a=stuck, b=up(1), **back))
    assert (plan.phase, plan.replicas) == (Phase.RETURNING, {"a": 3, "b": 0})


def test_the_only_pod_makes_room_only_if_the_spec_says_so() -> None:
    plan = decide(saw(STABLE, NEXT, a=up(1), b=homeless(9999), replicas=1))
    assert (plan.ledger, plan.replicas) == (None, {"a": 1, "b": 1})
    assert "spec.rollout.capacity: Replace" in plan.message
    replace_ = {"capacity": "Replace"}
    assert decide(saw(STABLE, NEXT, a=up(1), b=up(0), replicas=1, rollout=replace_)).replicas == {"a": 0, "b": 1}


def test_who_would_not_fit_in_place_or_may_only_surge_waits_on() -> None:
    larger = {"spec": {"containers": [{"name": "server", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]}}
    plan = decide(saw(STABLE, replace(NEXT, template=larger), a=up(3), b=homeless(9999)))
    assert (plan.phase, plan.replicas) == (Phase.WAITING, {"a": 3, "b": 1})
    assert "more than a pod of revision a would free" in plan.message
    surge = decide(saw(STABLE, NEXT, a=up(3), b=homeless(9999), rollout={"capacity": "Surge"}))
    assert surge.replicas == {"a": 3, "b": 1}


def test_a_failure_is_not_forgotten_before_its_traffic_is_taken_away() -> None:
    for desired in "ab":
        orders = {"desired": desired, "orders": Orders(retry="1")}
        plan = decide(saw(STABLE, FAILED, a=up(2), b=up(1), traffic="ab", **orders))
        assert (plan.ledger, plan.traffic) == (None, ("a",))
        plan = decide(saw(STABLE, FAILED, a=up(0), b=up(3), traffic="b", **orders))
        assert (plan.ledger, plan.replicas["b"]) == (None, 3)
        plan = decide(saw(STABLE, FAILED, a=up(3), b=up(0), traffic="a", **orders))
        assert plan.ledger == Judge("b", Verdict.UNDECIDED)


# -- the pods of the revision before


def test_the_pods_of_the_revision_before_stay_idle_for_a_while_and_yield_to_a_lack_of_room() -> None:
    now_stable = replace(NEXT, promotion=2, verdict=Verdict.PROMOTED, decided_time=JUST_NOW)
    kept = {"rollout": {"keepPrevious": "5m"}, "traffic": "b"}
    plan = decide(saw(STABLE, now_stable, a=up(3), b=up(3), **kept))
    assert (plan.phase, plan.replicas, plan.traffic) == (Phase.SETTLED, {"a": 3, "b": 3}, ("b",))
    assert plan.again == timedelta(minutes=4, seconds=50)
    crowded = decide(saw(STABLE, now_stable, a=up(3), b=up(3, troubles=(NO_ROOM,)), **kept))
    assert crowded.replicas == {"b": 3}
    later = replace(now_stable, decided_time=LONG_BEFORE)
    assert decide(saw(STABLE, later, a=up(3), b=up(3), **kept)).replicas == {"b": 3}


def test_going_back_to_pods_that_were_kept_takes_one_step() -> None:
    now_stable = replace(NEXT, promotion=2, verdict=Verdict.PROMOTED, decided_time=JUST_NOW)
    back = replace(STABLE, verdict=Verdict.PASSED)
    plan = decide(saw(back, now_stable, a=up(3), b=up(3), traffic="b", desired="a"))
    assert plan.ledger == Judge("a", Verdict.PROMOTED, 3)
