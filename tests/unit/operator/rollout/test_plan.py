"""The cases of the table in `rollout.plan`, one story each."""

from __future__ import annotations

from modelservice_operator.api.reasons import Reason
from modelservice_operator.api.types import Rollout
from modelservice_operator.rollout.decision import Adopt, Judge, Phase, Plan, Record
from modelservice_operator.rollout.plan import collectable, decide, gives_something_up, removable
from modelservice_operator.rollout.situation import Entry, Situation, Trouble, Verdict, Workload

FETCHES = {"spec": {"initContainers": [{"name": "fetch"}]}}
PAUSED = Rollout(paused=True)
CRASH = Trouble(Reason.CRASH_LOOP, "container server exits with code 1")


def promoted(name: str, number: int = 1, **more: object) -> Entry:
    return Entry(name, number, promotion=number, verdict=Verdict.PROMOTED, **more)  # type: ignore[arg-type]


def running(pods: int, *troubles: Trouble, available: int | None = None) -> Workload:
    up = pods if available is None else available
    return Workload(wanted=pods, pods=pods, ready=up, available=up, troubles=troubles)


def test_a_new_service_records_its_revision_before_anything_else() -> None:
    plan = decide(Situation("a", 3))
    assert plan.ledger == Record()
    assert (plan.replicas, plan.traffic) == ({}, ())


def test_an_unpinned_model_starts_one_pod_until_its_first_fetch_has_pinned_it() -> None:
    assert decide(Situation("a", 3, (Entry("a", 1, template=FETCHES),))).replicas == {"a": 1}
    assert decide(Situation("a", 3, (Entry("a", 1, template=FETCHES, digest="sha256:1"),))).replicas == {"a": 3}


def test_a_fetch_that_does_not_say_what_it_found_holds_nothing_up() -> None:
    load = {"a": Workload(wanted=1, pods=1, fetched="")}
    assert decide(Situation("a", 3, (Entry("a", 1, template=FETCHES),), load)).replicas == {"a": 3}


def test_a_service_that_was_promoted_without_a_pod_pins_its_model_with_one_before_it_grows() -> None:
    stable = promoted("a", template=FETCHES)
    assert decide(Situation("a", 3, (stable,), {"a": running(0)}, frozenset("a"))).replicas == {"a": 1}
    assert decide(Situation("b", 3, (stable, Entry("b", 2)), {"a": running(0)}, frozenset("a"))).replicas["a"] == 1


def test_a_lost_pin_takes_no_pod_away() -> None:
    stable = promoted("a", template=FETCHES)
    assert decide(Situation("a", 3, (stable,), {"a": running(3)}, frozenset("a"))).replicas == {"a": 3}
    ledger = (stable, Entry("b", 2, verdict=Verdict.PASSED, template=FETCHES))
    rolling = Situation("b", 3, ledger, {"a": running(1), "b": running(2)}, frozenset("ab"))
    assert decide(rolling).replicas == {"a": 1, "b": 2}


def test_the_first_ready_pod_of_the_first_revision_promotes_it() -> None:
    load = {"a": Workload(wanted=3, pods=3, ready=1)}
    assert decide(Situation("a", 3, (Entry("a", 1),), load)).ledger == Judge("a", Verdict.PROMOTED, 1)


def test_what_is_handed_over_serves_until_all_promised_pods_are_available() -> None:
    def look(**pods: int) -> Plan:
        load = {"a": Workload(wanted=3, pods=3, **pods)}
        return decide(Situation("a", 3, (Entry("a", 1),), load, has_service=False))

    waiting = look(ready=3, available=2)
    assert (waiting.ledger, waiting.traffic, waiting.replicas) == (None, (), {"a": 3})
    assert "handed over" in waiting.message
    assert look(ready=3, available=3).ledger == Judge("a", Verdict.PROMOTED, 1)


def test_a_first_revision_that_was_replaced_before_it_served_leaves_before_the_next_starts() -> None:
    plan = decide(Situation("b", 2, (Entry("a", 1), Entry("b", 2)), {"a": running(2, CRASH, available=0)}))
    assert plan.replicas == {}
    assert "revision a" in plan.message


def test_a_settled_service_holds_the_promised_number() -> None:
    plan = decide(Situation("a", 4, (promoted("a"),), {"a": running(3)}, frozenset("a")))
    assert (plan.phase, plan.replicas, plan.traffic) == (Phase.SETTLED, {"a": 4}, ("a",))


def test_a_new_revision_gets_one_pod_beside_the_promised_number() -> None:
    plan = decide(Situation("b", 3, (promoted("a"), Entry("b", 2)), {"a": running(3)}, frozenset("a")))
    assert (plan.replicas, plan.traffic) == ({"a": 3, "b": 1}, ("a",))


def test_the_ledger_is_written_before_a_new_revision_takes_traffic() -> None:
    load = {"a": running(3), "b": running(1)}
    seen = Situation("b", 3, (promoted("a"), Entry("b", 2)), load, frozenset("a"))
    assert decide(seen).ledger == Judge("b", Verdict.PASSED)
    passed = Situation("b", 3, (promoted("a"), Entry("b", 2, verdict=Verdict.PASSED)), load, frozenset("a"))
    assert decide(passed).traffic == ("a", "b")


def test_an_old_pod_goes_only_when_a_new_one_is_available_behind_the_wide_selector() -> None:
    ledger = (promoted("a"), Entry("b", 2, verdict=Verdict.PASSED))
    seen = Situation("b", 3, ledger, {"a": running(3), "b": running(1)}, frozenset("ab"))
    assert decide(seen).replicas == {"a": 2, "b": 1}
    seen = Situation("b", 3, ledger, {"a": running(2), "b": running(1)}, frozenset("ab"))
    assert decide(seen).replicas == {"a": 2, "b": 2}
    seen = Situation("b", 3, ledger, {"a": running(2), "b": running(2, available=1)}, frozenset("ab"))
    assert decide(seen).replicas == {"a": 2, "b": 2}


def test_a_roll_ends_with_a_promotion_then_a_narrow_selector_then_no_old_pods() -> None:
    load = {"a": running(1), "b": running(3)}
    seen = Situation("b", 3, (promoted("a"), Entry("b", 2, verdict=Verdict.PASSED)), load, frozenset("ab"))
    assert decide(seen).ledger == Judge("b", Verdict.PROMOTED, 2)
    seen = Situation("b", 3, (promoted("a"), promoted("b", 2)), load, frozenset("ab"))
    assert (decide(seen).traffic, decide(seen).replicas) == (("b",), {"b": 3, "a": 1})
    seen = Situation("b", 3, (promoted("a"), promoted("b", 2)), load, frozenset("b"))
    assert decide(seen).replicas == {"b": 3}


def test_a_third_spec_right_after_a_promotion_does_not_roll_back_to_what_was_just_left() -> None:
    ledger = (promoted("a"), promoted("b", 2), Entry("c", 3))
    seen = Situation("c", 3, ledger, {"a": running(1), "b": running(3)}, frozenset("ab"))
    assert decide(seen).traffic == ("b",)


def test_a_reverted_spec_turns_the_roll_around() -> None:
    ledger = (promoted("a"), Entry("b", 2, verdict=Verdict.PASSED))
    seen = Situation("a", 3, ledger, {"a": running(1), "b": running(3)}, frozenset("ab"))
    assert decide(seen).replicas == {"a": 1, "b": 2}  # two of b with one of a hold the promise
    seen = Situation("a", 3, ledger, {"a": running(1), "b": running(2)}, frozenset("ab"))
    assert decide(seen).replicas == {"a": 2, "b": 2}
    seen = Situation("a", 3, ledger, {"a": running(3), "b": running(1)}, frozenset("ab"))
    assert (decide(seen).traffic, decide(seen).replicas) == (("a",), {"a": 3, "b": 1})


def test_a_third_spec_waits_for_a_healthy_roll_and_ends_a_failing_one() -> None:
    ledger = (promoted("a"), Entry("b", 2, verdict=Verdict.PASSED), Entry("c", 3))
    healthy = Situation("c", 3, ledger, {"a": running(2), "b": running(2)}, frozenset("ab"))
    assert decide(healthy).replicas == {"a": 1, "b": 2}
    assert "c starts when the roll to b is complete" in decide(healthy).message
    failing = Situation("c", 3, ledger, {"a": running(2), "b": running(2, CRASH, available=1)}, frozenset("ab"))
    assert decide(failing).ledger == Judge(
        "b", Verdict.SUPERSEDED, reason=Reason.CRASH_LOOP, message=f"Revision b gives way to c: {CRASH.sentence}"
    )


def test_a_third_revision_must_be_gone_before_a_candidate_starts() -> None:
    ledger = (promoted("a"), Entry("b", 2), Entry("c", 3))
    seen = Situation("c", 3, ledger, {"a": running(3), "b": running(1, CRASH, available=0)}, frozenset("a"))
    assert decide(seen).replicas == {"a": 3, "c": 0}


def test_paused_holds_starts_and_promotions_but_not_scaling() -> None:
    start = Situation("b", 5, (promoted("a"), Entry("b", 2)), {"a": running(3)}, frozenset("a"), rollout=PAUSED)
    assert (decide(start).phase, decide(start).replicas) == (Phase.PAUSED, {"a": 5, "b": 0})
    ledger = (promoted("a"), Entry("b", 2, verdict=Verdict.PASSED))
    rolling = Situation("b", 3, ledger, {"a": running(0), "b": running(3)}, frozenset("ab"), rollout=PAUSED)
    assert decide(rolling).ledger is None


def test_a_growing_promise_is_first_kept_by_the_proven_side_of_a_roll() -> None:
    ledger = (promoted("a"), Entry("b", 2, verdict=Verdict.PASSED))
    seen = Situation("b", 10, ledger, {"a": running(2), "b": running(2)}, frozenset("ab"))
    assert decide(seen).replicas == {"a": 8, "b": 3}


def test_zero_replicas_promote_without_a_pod() -> None:
    seen = Situation("b", 0, (promoted("a"), Entry("b", 2)), {"a": running(0)}, frozenset("a"))
    assert decide(seen).ledger == Judge("b", Verdict.PROMOTED, 2)


def test_a_lost_ledger_is_rebuilt_from_what_serves() -> None:
    seen = Situation("b", 3, (), {"a": running(3)}, frozenset("a"))
    assert decide(seen).ledger == Adopt("a")


def test_the_ledger_keeps_ten_lines_and_whatever_is_in_use() -> None:
    ledger = tuple(promoted(f"r{number:02}", number) for number in range(1, 14))
    seen = Situation("r13", 1, ledger, {"r02": running(1)}, frozenset({"r13"}))
    assert collectable(seen) == ["r01", "r03"]


def test_to_leave_what_is_stable_to_forget_a_failure_or_to_take_pods_away_is_to_give_something_up() -> None:
    def gives_up(now: Situation) -> bool:
        return gives_something_up(now, decide(now))

    first, stable, load = Entry("a", 1), promoted("a"), {"a": running(3)}
    assert not gives_up(Situation("a", 3))
    assert not gives_up(Situation("a", 3, (first,), load))
    assert not gives_up(Situation("a", 3, (stable,), load, frozenset("a")))
    assert not gives_up(Situation("a", 4, (stable,), load, frozenset("a")))
    assert gives_up(Situation("a", 2, (stable,), load, frozenset("a")))
    assert gives_up(Situation("b", 3, (stable,), load, frozenset("a")))
    assert gives_up(Situation("a", 3, (stable, Entry("b", 2)), load | {"b": running(1)}, frozenset("a")))
    assert gives_up(Situation("a", 3, (stable, Entry("b", 2, verdict=Verdict.FAILED)), load, frozenset("a")))


def test_to_take_traffic_away_is_to_give_something_up_also_where_no_pods_are_seen() -> None:
    failed = Entry("b", 2, verdict=Verdict.FAILED)
    seen = Situation("b", 3, (promoted("a"), failed), {"a": running(3)}, frozenset("b"))
    plan = decide(seen)
    assert (plan.phase, plan.traffic) == (Phase.RETURNING, ("a",))
    assert gives_something_up(seen, plan)


def test_only_a_deployment_without_pods_is_removed() -> None:
    load = {"a": running(0), "b": running(1), "c": running(3)}
    seen = Situation("c", 3, (promoted("c", 3),), load, frozenset("c"))
    assert removable(seen, decide(seen)) == ["a"]


def test_a_foreign_wide_selector_gives_no_traffic_to_a_revision_without_a_verdict() -> None:
    seen = Situation("b", 3, (promoted("a"), Entry("b", 2)), {"a": running(3), "b": running(1)})
    assert seen.behind_wide_selector() == frozenset("a")
