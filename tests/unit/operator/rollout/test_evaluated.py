"""How an evaluation ended, read from a Job and its pod."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.evaluated import ended_time, has_ended, is_under_way, outcome, trouble
from modelservice_operator.rollout.situation import Evaluated, Trouble
from unit.operator.makers import container

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


# -- while it does not run


def waiting(phase: str = "Pending", **status: object) -> Body:
    return {"metadata": {"name": "m-1-eval-x"}, "status": {"phase": phase} | status}


def refusal(note: str, time: str) -> Body:
    return {"note": note, "deprecatedLastTimestamp": time}


NO_NODE = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available."}
NO_IMAGE = container("evaluate", waiting={"reason": "ErrImagePull", "message": "no such host"})


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (waiting(conditions=[NO_NODE]), Trouble(Reason.UNSCHEDULABLE, "0/1 nodes are available.")),
        (
            waiting(containerStatuses=[NO_IMAGE]),
            Trouble(
                Reason.IMAGE_PULL_FAILED,
                'Image "example/server:1" of container evaluate cannot be pulled',
                "no such host",
            ),
        ),
        (waiting(containerStatuses=[container("evaluate", waiting={"reason": "ContainerCreating"})]), None),
        (waiting(), None),
        # It has ended, and its Job is about to: what it says is the outcome.
        (waiting("Failed", containerStatuses=[container("evaluate", terminated={"exitCode": 1})]), None),
    ],
)
def test_a_pod_that_does_not_run_says_why(pod: Body, told: Trouble | None) -> None:
    assert trouble([pod], []) == told


def test_a_pod_that_is_refused_is_told_in_the_latest_words_of_who_refuses_it() -> None:
    quota = 'Error creating: pods "m-1-eval-a" is forbidden: exceeded quota: q, used: pods=1, limited: pods=1'
    level = '(combined from similar events): Error creating: pods "m-1-eval-b" is forbidden: violates PodSecurity'
    early, late = (f"2026-01-01T00:00:0{second}Z" for second in (1, 2))
    words = "Its pods are refused: exceeded quota: q, used: pods=1, limited: pods=1"
    assert trouble([], [refusal(level, early), refusal(quota, late)]) == Trouble(Reason.WAITING_FOR_CAPACITY, words)
    found = trouble([], [refusal(level, late), refusal(quota, early)])
    assert found == Trouble(Reason.REJECTED, "Its pods are refused: violates PodSecurity")
    assert trouble([], []) is None


def test_a_job_is_under_way_while_its_pod_runs() -> None:
    assert is_under_way({"status": {"active": 1, "ready": 1}})
    assert not is_under_way({"status": {"active": 1, "ready": 0}})
    assert not is_under_way(job())
    assert not is_under_way({})
