"""What the log of a container says about a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelservice_operator import names
from modelservice_operator.rollout import ledger
from modelservice_operator.rollout.decision import Judge
from modelservice_operator.rollout.evidence import KEPT_BYTES, Source, end, readable, source
from modelservice_operator.rollout.situation import Verdict
from unit.operator.makers import Body, container, entry, line, pod

FAILED = Judge("m-1", Verdict.FAILED, reason="NeverReady")
ENDED = {"exitCode": 1, "message": "KeyError"}
WAITS = container(restarts=1, last=ENDED, waiting={"reason": "CrashLoopBackOff"})
FETCHED = container("fetch", terminated={"exitCode": 0})


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"containerStatuses": [WAITS]}, Source("m-1-x", "server", previous=True)),
        ({"containerStatuses": [container(terminated=ENDED)]}, Source("m-1-x", "server", previous=False)),
        (
            {"containerStatuses": [container(restarts=1, last=ENDED, running={})]},
            Source("m-1-x", "server", previous=True),
        ),
        ({"containerStatuses": [container(running={})]}, Source("m-1-x", "server", previous=False)),
        ({"containerStatuses": [container(up=True, running={})]}, Source("m-1-x", "server", previous=False)),
        (
            {"initContainerStatuses": [container("fetch", terminated=ENDED)], "containerStatuses": [container()]},
            Source("m-1-x", "fetch", previous=False),
        ),
        (
            {"initContainerStatuses": [FETCHED], "containerStatuses": [WAITS]},
            Source("m-1-x", "server", previous=True),
        ),
        ({"containerStatuses": [container(waiting={"reason": "ImagePullBackOff"})]}, None),
        ({}, None),
    ],
)
def test_the_log_is_that_of_the_container_that_failed(status: Body, found: Source | None) -> None:
    assert source(FAILED, [pod(**status)]) == found


def test_a_pod_that_crashed_says_more_than_one_that_runs_and_another_revision_says_nothing() -> None:
    runs, crashed = pod(name="a", containerStatuses=[container(running={})]), pod(name="b", containerStatuses=[WAITS])
    assert source(FAILED, [runs, crashed]) == Source("b", "server", previous=True)
    assert source(replace(FAILED, revision="m-2"), [runs, crashed]) is None


@pytest.mark.parametrize(
    "judge",
    [
        Judge("m-1", Verdict.PROMOTED),
        replace(FAILED, reason="GateFailed"),  # its numbers are the evidence
        replace(FAILED, reason="RolledBack"),  # somebody knows why
    ],
)
def test_other_decisions_need_no_log(judge: Judge) -> None:
    assert source(judge, [pod(containerStatuses=[WAITS])]) is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"one\n\n  two\n\n", "one\n\n  two"),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b]8;;http://a\x1b\\link\x1b(B\x1b7", "red xlink"),
        ("\x9b31mred".encode(), "red"),
        (b"  0%|\r 50%|\r100%|\r\nend\r\n", "100%|\nend"),
        (b"a\x00b\x07c\x7f\td", "abc\td"),
        ("\u202eevil\u2066\u200b \N{SNOWMAN}".encode(), "evil \N{SNOWMAN}"),
        (b"\xff\xc3", "\ufffd\ufffd"),
        (b"\x1b", ""),
        (b"", ""),
    ],
)
def test_a_log_is_made_fit_for_people(written: bytes, read: str) -> None:
    assert readable(written) == read


def test_the_end_begins_with_a_line_and_never_within_a_character() -> None:
    assert end("one\ntwo", 7) == "one\ntwo"
    assert end("one\ntwo", 6) == "two"
    assert end("äää", 5) == "ää"
    assert end("ä" * 3000, 3) == "ä"


def test_a_note_that_somebody_made_long_is_cut_when_it_is_read() -> None:
    body = line(entry())
    body["metadata"]["annotations"][names.LOG] = "x" * 100_000
    assert ledger.entry(body, {}).log == "x" * KEPT_BYTES


def test_a_later_verdict_drops_the_log() -> None:
    failed = ledger.decided(entry(), replace(FAILED, log="KeyError"), "2026-01-01T00:00:00Z", "")
    assert ledger.notes(failed)[names.LOG] == "KeyError"
    assert names.LOG not in ledger.notes(ledger.decided(failed, Judge("m-1", Verdict.UNDECIDED), "now", ""))
