"""What a ModelService's Events tell, and what they pass over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelservice_operator.engine.recorder import LONGEST_NOTE
from modelservice_operator.events import of_decision, of_status
from modelservice_operator.rollout.decision import Adopt, Judge, Record
from modelservice_operator.rollout.situation import Situation, Verdict
from unit.operator.makers import Body, entry, promoted

NOW = Situation("m-2", 3, (promoted("m-1"), entry("m-2", 2)))


def status(ready: str, reason: str, *, available: str = "True", why: str = "Serving", message: str = "words") -> Body:
    return {
        "conditions": [
            {"type": "Ready", "status": ready, "reason": reason, "message": message},
            {"type": "Available", "status": available, "reason": why, "message": "of Available"},
        ]
    }


def told(before: Body, after: Body) -> list[str]:
    found = of_status(before, after)
    return [f"{'Warning' if each.is_warning else 'Normal'} {each.reason}: {each.note}" for each in found]


UNSEEN: Body = {"observedGeneration": -1}
READY = status("True", "Ready")
LOADING = status("False", "ModelLoading", available="False", why="NoReadyPod")
ROLLING = status("False", "RollingOut")
CRASHING = status("False", "CrashLoop")


def test_a_service_that_comes_up_has_one_event() -> None:
    assert told(UNSEEN, LOADING) == []
    assert told(LOADING, status("False", "ModelLoading")) == []
    assert told(status("False", "ModelLoading"), READY) == ["Normal Ready: words"]


def test_a_roll_that_goes_its_course_is_no_news() -> None:
    assert told(READY, ROLLING) == []
    assert told(ROLLING, READY) == ["Normal Ready: words"]


@pytest.mark.parametrize("reason", ["CrashLoop", "WaitingForCapacity", "NameConflict", "InvalidSpec", "ManagedByOther"])
def test_what_stands_in_the_way_is_a_warning_and_its_end_is_told(reason: str) -> None:
    trouble = status("False", reason)
    assert told(ROLLING, trouble) == [f"Warning {reason}: words"]
    assert told(trouble, READY) == ["Normal Ready: words"]


def test_who_pauses_or_scales_to_zero_is_not_warned() -> None:
    assert told(ROLLING, status("False", "Paused")) == ["Normal Paused: words"]
    nothing = status("True", "ScaledToZero", available="False", why="ScaledToZero")
    assert told(READY, nothing) == ["Normal ScaledToZero: words"]


def test_the_loss_of_the_last_pod_is_told_and_a_first_pod_that_is_not_there_yet_is_not() -> None:
    assert told(READY, LOADING) == ["Warning NoReadyPod: of Available"]
    assert told(LOADING, LOADING) == []


def test_a_status_that_says_the_same_in_other_words_is_no_news() -> None:
    assert told(CRASHING, status("False", "CrashLoop", message="other words")) == []
    assert told(CRASHING, CRASHING) == []


def decided(line: Record | Adopt | Judge, seen: Situation = NOW) -> str:
    event = of_decision(line, seen)
    return f"{event.reason}: {event.note}" if event else ""


def test_a_first_revision_is_no_news_and_another_one_is() -> None:
    first = Situation("m-1", 3, (entry("m-1"),))
    assert decided(Record(), replace(first, ledger=())) == ""
    assert decided(Judge("m-1", Verdict.PROMOTED, 1), first) == ""
    assert decided(Record()) == "RevisionRecorded: Revision m-2 is to take over from m-1."
    assert decided(Judge("m-2", Verdict.PASSED)) == ""
    assert decided(Judge("m-2", Verdict.PROMOTED, 2)) == "RevisionPromoted: Revision m-2 has taken over from m-1."


def test_a_revision_that_served_before_is_rolled_back_to() -> None:
    back = replace(NOW, ledger=(promoted("m-1", 2), promoted("m-2", 1)))
    assert decided(Judge("m-2", Verdict.PROMOTED, 3), back) == "RolledBack: Revision m-2 has taken over again from m-1."


def test_as_many_of_the_last_lines_of_a_log_are_told_as_an_event_can_hold() -> None:
    lines = [f"line {number}" for number in range(500)]
    failed = Judge("m-2", Verdict.FAILED, reason="NeverReady", message="No pod became ready.")
    event = of_decision(replace(failed, log="\n".join(lines)), NOW)
    assert event is not None
    first, *rest = event.note.split("\n")
    assert first == "Revision m-2 failed (NeverReady): No pod became ready."
    assert rest == lines[-len(rest) :]
    assert LONGEST_NOTE - 10 < len(event.note) <= LONGEST_NOTE
    assert decided(replace(failed, message="x" * LONGEST_NOTE, log="line")).endswith("x")
    assert decided(failed) == f"RevisionFailed: {first}"


def test_a_revision_that_gave_way_and_one_that_was_adopted_are_told() -> None:
    waiting = replace(NOW, desired="m-3")
    superseded = Judge("m-2", Verdict.SUPERSEDED, reason="CrashLoop")
    assert decided(superseded, waiting) == "RevisionSuperseded: Revision m-2 gave way to m-3 because of CrashLoop."
    assert decided(Adopt("m-1"), Situation("m-1", 1)) == "RevisionAdopted: Revision m-1 serves and was not on record."
