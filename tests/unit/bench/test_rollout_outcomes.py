"""What `make bench-rollout` says of what became of revisions."""

from __future__ import annotations

import pytest

from changes import CHANGES, ORDERED, PROMOTED, Change, End, Kind
from e2e.client import Load
from modelservice_operator.api.types import ModelServiceSpec
from outcomes import Outcome, State, answers, figures, row, seconds_after_verdict

WRONG = End("Failed", "GateFailed")


def outcome(
    kind: Kind, found: End, revision: str = "m-new", *, state: State = State.AS_MEANT, keeps: bool = True
) -> Outcome:
    change = Change(title="a title", kind=kind, ends=found, keeps=keeps)
    return Outcome(change, revision, found, state, 12.0, "2026-01-01T00:00:10Z")


def load(failures: int = 0, **last: float) -> Load:
    """Return what was told of requests that each pod answered once, some seconds after the year began."""
    pods = {name.replace("_", "-"): 1767225600.0 + second for name, second in last.items()}
    return Load(dict.fromkeys(pods, 1), pods, ["refused"] * failures)


def test_the_revision_of_an_answer_is_that_of_its_pod() -> None:
    seen = load(m_new_7c9f_x1=1, m_new_7c9f_x2=2, m_newer_7c9f_x3=3)
    assert answers("m-new", seen) == 2
    assert answers("m-old", seen) == 0


def test_what_was_taken_back_is_timed_from_its_verdict_to_its_very_last_answer() -> None:
    seen = load(m_new_7c9f_x1=11.5, m_new_7c9f_x2=12.25, m_old_7c9f_x1=99)
    assert seconds_after_verdict(outcome(Kind.LIVE, ORDERED), seen) == 2.25
    assert seconds_after_verdict(outcome(Kind.GOOD, PROMOTED), seen) is None
    assert seconds_after_verdict(outcome(Kind.LIVE, ORDERED, "m-silent"), seen) is None
    assert "the last 2.2 s after the verdict" in row(outcome(Kind.LIVE, ORDERED), seen)


def test_a_bad_model_is_served_when_any_pod_of_it_has_answered() -> None:
    outcomes = [outcome(Kind.GATE, WRONG, "m-wrong"), outcome(Kind.GATE, WRONG, "m-new"), outcome(Kind.GOOD, PROMOTED)]
    found = figures([(outcomes, load(m_new_7c9f_x1=1))])
    assert (found["rollouts"], found["bad_models_tried"], found["bad_models_served"]) == (3, 2, 1)


def test_failures_are_requests_and_every_lane_counts() -> None:
    one = [outcome(Kind.LIVE, ORDERED, state=State.OTHERWISE), outcome(Kind.ORDER, ORDERED, state=State.STUCK)]
    other = [outcome(Kind.ORDER, ORDERED, keeps=False)]
    found = figures([(one, load(1, m_new_7c9f_x1=11)), (other, load(2, m_new_7c9f_x1=19, m_old_7c9f_x1=20))])
    assert (found["requests"], found["failed_requests"]) == (6, 3)
    assert (found["rollback_seconds"], found["rollback_seconds_without_pods"]) == (1.0, 9.0)
    assert (found["ended_otherwise"], found["deadlocks"]) == (1, 1)


@pytest.mark.parametrize("change", [each for lane in CHANGES.values() for each in lane], ids=lambda each: each.title)
def test_every_spec_is_one_that_the_api_takes(change: Change) -> None:
    for spec in (change.spec, change.then):
        if isinstance(spec, dict):
            ModelServiceSpec.model_validate(spec)


def test_enough_is_tried_and_every_title_names_one_change() -> None:
    changes = [change for lane in CHANGES.values() for change in lane]
    assert len({change.title for change in changes}) == len(changes) >= 20
    assert sum(change.kind is Kind.GATE for change in changes) >= 4
    assert {change.kind for change in changes} == {*Kind}
