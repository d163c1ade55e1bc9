"""What each command writes, and what it refuses in words."""

from __future__ import annotations

import pytest

from modelservice_operator import names
from modelservice_operator.plugin.acts import ACTS, RefusedError
from modelservice_operator.plugin.cli import COMMANDS
from unit.operator.plugin.services import (
    CANDIDATE,
    COMES,
    FAILED,
    PROMOTED,
    READY,
    REFUSED,
    ROLLING_OUT,
    SERVES,
    SETTLED,
    STABLE,
    STALLED,
    UNSEEN,
    Body,
    decided,
    revision,
    service,
)

NOW = "2026-11-28T12:00:00Z"
FAILED_ROLLOUT = {"phase": "Failed", "revision": FAILED}
GIVEN_UP = service(
    status={
        "conditions": [STALLED],
        "revisions": [SERVES, revision(FAILED, "Candidate", 0, 0, "0%")],
        "rollout": FAILED_ROLLOUT,
        "history": [REFUSED, PROMOTED],
    }
)
FIRST = service(status={"rollout": {"phase": "Evaluating", "revision": CANDIDATE}, "revisions": [COMES]})
RETURNS = service(status={"rollout": {"phase": "Returning", "revision": STABLE}, "revisions": [SERVES]})
LEAVES = service(status={**GIVEN_UP["status"], "rollout": {"phase": "Returning", "revision": FAILED}})


def patch(command: str, of: Body, which: str = "") -> Body:
    return ACTS[command](of, which, NOW).patch


def marks(command: str, of: Body, which: str = "") -> Body:
    written: Body = patch(command, of, which)["metadata"]["annotations"]
    return written


def refusal(command: str, of: Body, which: str = "") -> str:
    with pytest.raises(RefusedError) as raised:
        patch(command, of, which)
    return str(raised.value)


def test_the_commands_that_write_are_among_the_commands() -> None:
    assert set(ACTS) < set(COMMANDS)


def test_a_pause_begins_and_ends_in_the_spec() -> None:
    assert patch("pause", SETTLED) == {"spec": {"rollout": {"paused": True}}}
    assert patch("resume", SETTLED) == {"spec": {"rollout": {"paused": False}}}


def test_a_restart_is_marked_with_the_time() -> None:
    assert marks("restart", UNSEEN) == {names.RESTART: NOW}


@pytest.mark.parametrize("command", ["restart", "retry"])
def test_who_restarts_or_retries_what_is_paused_is_told_what_it_waits_for(command: str) -> None:
    told = ACTS[command](service(paused=True, status=GIVEN_UP["status"]), "", NOW).told
    assert told.endswith("It is paused, so that waits for `kubectl modelservice resume digits`.")


# -- promote


def test_the_revision_on_its_way_in_is_promoted_also_by_name() -> None:
    assert marks("promote", ROLLING_OUT) == marks("promote", ROLLING_OUT, CANDIDATE) == {names.PROMOTE: CANDIDATE}


def test_a_first_revision_can_be_promoted() -> None:
    assert marks("promote", FIRST) == {names.PROMOTE: CANDIDATE}


@pytest.mark.parametrize("of", [SETTLED, UNSEEN, RETURNS, LEAVES, GIVEN_UP])
def test_nothing_can_be_promoted_where_nothing_is_on_its_way(of: Body) -> None:
    assert refusal("promote", of).startswith("Nothing is on its way in that could be promoted")


def test_a_revision_that_is_not_on_its_way_cannot_be_promoted() -> None:
    assert refusal("promote", ROLLING_OUT, STABLE) == (
        f"{STABLE} is not on its way in; {CANDIDATE} is. Name that, or none."
    )


# -- rollback


def test_the_revision_on_its_way_in_is_given_up_first() -> None:
    assert marks("rollback", ROLLING_OUT) == {names.ROLLBACK: CANDIDATE}


def test_a_revision_that_the_spec_does_not_describe_can_be_given_up_ahead() -> None:
    act = ACTS["rollback"](ROLLING_OUT, FAILED, NOW)
    assert act.patch == {"metadata": {"annotations": {names.ROLLBACK: FAILED}}}
    assert act.told == f"{FAILED} is given up for good. The spec describes {CANDIDATE}, which is left alone."


def test_what_serves_is_given_up_where_another_was_promoted() -> None:
    before = decided("digits-before0000", "Promoted")
    of = service(status={"conditions": [READY], "revisions": [SERVES], "history": [PROMOTED, REFUSED, before]})
    assert marks("rollback", of) == {names.ROLLBACK: STABLE}
    kept = service(status={"revisions": [SERVES, revision("digits-before0000", "Previous", 3, 3, "0%")]})
    assert marks("rollback", kept) == {names.ROLLBACK: STABLE}


def test_there_is_no_way_back_to_a_revision_that_was_given_up() -> None:
    lines = [decided("digits-before0000", "RolledBack"), PROMOTED, decided("digits-before0000", "Promoted")]
    of = service(status={"revisions": [SERVES], "history": lines})
    assert refusal("rollback", of).startswith(
        f"There is nothing to return to: no other revision of digits than {STABLE} was promoted."
    )


@pytest.mark.parametrize(
    ("of", "which", "words"),
    [
        (SETTLED, "", "There is nothing to return to"),
        (FIRST, "", "There is nothing to return to"),
        (ROLLING_OUT, "digits-other00000", f"has no revision digits-other00000; its status tells of {CANDIDATE}, "),
        (SETTLED, "digits-other00000", f"has no revision digits-other00000; its status tells of {STABLE}."),
        (GIVEN_UP, "", f"{FAILED} was refused or given up already."),
        (
            service(annotations={names.ROLLBACK: STABLE}, status=SETTLED["status"]),
            "",
            "was refused or given up already.",
        ),
        (UNSEEN, "", "has no revision yet"),
        (UNSEEN, "digits-other00000", "has no revision yet"),
    ],
)
def test_what_cannot_be_given_up(of: Body, which: str, words: str) -> None:
    assert words in refusal("rollback", of, which)


# -- retry


@pytest.mark.parametrize("of", [GIVEN_UP, LEAVES])
def test_a_refused_revision_is_tried_again(of: Body) -> None:
    assert marks("retry", of) == {names.RETRY: NOW}
    assert ACTS["retry"](of, "", NOW).revision == FAILED


def test_a_retry_takes_back_that_the_revision_was_given_up_and_only_that() -> None:
    of = service(annotations={names.ROLLBACK: FAILED}, status={"rollout": {"phase": "Rolling", "revision": FAILED}})
    assert marks("retry", of) == {names.RETRY: NOW, names.ROLLBACK: None}
    other = service(annotations={names.ROLLBACK: STABLE}, status=GIVEN_UP["status"])
    assert marks("retry", other) == {names.RETRY: NOW}


@pytest.mark.parametrize(
    "of",
    [
        SETTLED,
        UNSEEN,
        ROLLING_OUT,
        service(status={"conditions": [READY], "revisions": [SERVES], "history": [REFUSED]}),
        service(status={"conditions": [STALLED], "revisions": [SERVES]}),
        RETURNS,
    ],
)
def test_there_is_no_retry_of_what_was_not_refused(of: Body) -> None:
    assert refusal("retry", of).startswith("Nothing of digits was refused")
