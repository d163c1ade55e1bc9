"""How an evaluation ended, read from a Job and its pod."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelservice_operator.rollout.evaluated import ended_time, has_ended, outcome
from modelservice_operator.rollout.situation import Evaluated

Body = dict[str, Any]
DIGEST = "sha256:" + "1" * 64
GOOD = {"digest": DIGEST, "rows": 360, "failed": 0, "metrics": {"f1": "0.95"}}


def job(kind: str = "Complete", status: str = "True") -> Body:
    condition = {"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "Too late."}
    return {"status": {"conditions": [condition]}}


def pod(message: object) -> Body:
    text = message if isinstance(message, str) else json.dumps(message)
    return {"status": {"containerStatuses": [{"state": {"terminated": {"message": f"{text}\n"}}}]}}


def test_a_job_ends_well_or_badly_or_goes_on() -> None:
    assert has_ended(job())
    assert has_ended(job("Failed"))
    assert not has_ended(job("Failed", "False"))
    assert not has_ended({"status": {}})
    assert not has_ended({})
    assert ended_time(job()) == "2026-01-01T00:00:00Z"


def test_the_numbers_are_taken_as_they_are() -> None:
    assert outcome(job(), [pod(GOOD)]) == Evaluated({"f1": "0.95"}, DIGEST)


@pytest.mark.parametrize(
    "message",
    [
        {**GOOD, "failed": 1},
        {**GOOD, "digest": "sha256:1"},
        {**GOOD, "metrics": {"f1": "very good"}},
        {**GOOD, "metrics": {"f1": "Infinity"}},
        {**GOOD, "metrics": ["f1"]},
        {**GOOD, "verdict": "Passed"},
        [GOOD],
        json.dumps(GOOD)[:-1],
        "",
    ],
)
def test_anything_else_is_no_verdict(message: object) -> None:
    found = outcome(job(), [pod(message)])
    assert found.scores == {}
    assert found.problem


def test_a_problem_is_told_in_the_words_of_who_had_it() -> None:
    assert (
        outcome(job("Failed"), [pod({"reason": "FetchFailed", "message": "No such\nbucket."})]).problem
        == "No such bucket."
    )
    assert outcome(job("Failed"), [pod("Traceback: KeyError")]).problem == "Traceback: KeyError"
    assert outcome(job("Failed"), []).problem == "Too late."
    assert outcome({"status": {}}, []).problem == "Its pod is gone without a word."
