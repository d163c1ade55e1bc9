"""When an evaluation that came to no verdict is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from modelservice_operator import names
from modelservice_operator.engine.store import Key
from modelservice_operator.evaluations import Evaluations
from unit.operator.makers import CONFIG, children

if TYPE_CHECKING:
    from modelservice_operator.engine.apply import Applier

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def evaluations() -> Evaluations:
    return Evaluations(cast("Applier", None), CONFIG, lambda: NOW)


def ended_now(namespace: str = "a", uid: str = "uid") -> dict[str, Any]:
    """Return a Job about revision m-1 that has just come to no verdict."""
    return {
        "kind": "Job",
        "metadata": {"namespace": namespace, "name": "m-1-eval", "uid": uid, "labels": {names.REVISION: "m-1"}},
        "status": {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": NOW.isoformat()}]},
    }


def waits(*jobs: dict[str, Any]) -> list[timedelta | None]:
    """Return how long it waits after each of these looks at Jobs."""
    patient = evaluations()
    return [patient.again(Key(job["metadata"]["namespace"], "m"), children(job)) for job in jobs]


def test_each_try_waits_longer_than_the_one_before() -> None:
    seconds = [10, 20, 40, 80, 160, 300, 300]
    assert waits(*(ended_now(uid=str(number)) for number in range(7))) == [timedelta(seconds=each) for each in seconds]
    assert waits(*(ended_now(uid=str(number)) for number in range(100)))[-1] == timedelta(minutes=5)


def test_looking_at_a_try_again_changes_nothing() -> None:
    assert waits(ended_now(), ended_now(), ended_now()) == [timedelta(seconds=10)] * 3


def test_services_of_one_name_and_spec_in_two_namespaces_do_not_push_each_other_back() -> None:
    twins = [ended_now("a", "uid of a"), ended_now("b", "uid of b")]
    assert waits(*twins, *twins, *twins) == [timedelta(seconds=10)] * 6


def test_what_is_no_longer_evaluated_is_forgotten_with_its_tries() -> None:
    patient, key = evaluations(), Key("a", "m")
    assert patient.again(key, children(ended_now(uid="1"))) == timedelta(seconds=10)
    assert patient.again(key, children(ended_now(uid="2"))) == timedelta(seconds=20)
    patient.forget(key)
    assert patient.again(key, children(ended_now(uid="3"))) == timedelta(seconds=10)
