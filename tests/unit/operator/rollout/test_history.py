"""What became of revisions, as status tells it."""

from __future__ import annotations

from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.history import KEPT, history
from modelservice_operator.rollout.situation import Verdict
from unit.operator.makers import entry, promoted


def test_a_decision_is_told_with_its_evidence() -> None:
    failed = entry(
        "m-2",
        2,
        verdict=Verdict.FAILED,
        reason=Reason.GATE_FAILED,
        message="f1 is 0.5, and must be at least 0.9.",
        decided_time="2026-01-01T00:00:02Z",
        measured={"f1": "0.5"},
        log="KeyError: 'f1'",
    )
    assert history([failed, entry()], []) == [
        {
            "revision": "m-2",
            "decision": "Failed",
            "reason": "GateFailed",
            "message": "f1 is 0.5, and must be at least 0.9.",
            "decidedTime": "2026-01-01T00:00:02Z",
            "measured": {"f1": "0.5"},
            "log": "KeyError: 'f1'",
        }
    ]


def test_what_had_traffic_before_it_failed_was_rolled_back() -> None:
    slow = entry(verdict=Verdict.FAILED, reason=Reason.LATENCY_REGRESSION, decided_time="1")
    given_up = entry(verdict=Verdict.FAILED, reason=Reason.ROLLED_BACK, promotion=1, decided_time="1")
    assert [history([each], [])[0]["decision"] for each in (slow, given_up)] == ["RolledBack", "RolledBack"]


def test_what_the_ledger_has_overwritten_stays_and_nothing_is_told_twice() -> None:
    first = history([promoted(decided_time="2026-01-01T00:00:01Z")], [])
    again = history([promoted(promotion=3, decided_time="2026-01-01T00:00:03Z")], first)
    assert [each["decidedTime"] for each in again] == ["2026-01-01T00:00:03Z", "2026-01-01T00:00:01Z"]
    assert history([promoted(promotion=3, decided_time="2026-01-01T00:00:03Z")], again) == again


def test_only_the_last_decisions_are_kept() -> None:
    told = history(
        [promoted(f"m-{number}", decided_time=f"2026-01-{number:02}T00:00:00Z") for number in range(1, 20)], []
    )
    assert len(told) == KEPT
    assert told[0]["revision"] == "m-19"
