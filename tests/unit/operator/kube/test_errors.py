from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modelservice_operator.kube import errors

if TYPE_CHECKING:
    from modelservice_operator.kube.resources import Body


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (400, {"message": "strict decoding error"}, errors.BadRequest),
        (401, {}, errors.Unauthorized),
        (403, {"message": "exceeded quota: pods"}, errors.Forbidden),
        (403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, errors.NamespaceTerminating),
        (403, {"message": "create not allowed while custom resource definition is terminating"}, errors.NotFound),
        (404, {}, errors.NotFound),
        (409, {"reason": "Conflict"}, errors.Conflict),
        (409, {"reason": "AlreadyExists"}, errors.AlreadyExists),
        (409, {"details": {"causes": [{"reason": "FieldManagerConflict"}]}}, errors.FieldConflict),
        (410, {"reason": "Expired"}, errors.Gone),
        (415, {}, errors.BadRequest),
        (422, {"details": {"causes": [{"field": "spec.selector"}]}}, errors.Invalid),
        (422, {"details": {"causes": [{"field": "metadata.uid"}]}}, errors.Conflict),
        (429, {}, errors.Throttled),
        (500, {"message": "etcdserver: leader changed"}, errors.Unavailable),
        (500, {"message": "failed to create typed patch object (x): .dat: field not declared"}, errors.SchemaError),
        (503, {}, errors.Unavailable),
        (504, {}, errors.Unavailable),
    ],
)
def test_each_answer_of_the_server_has_its_exception(code: int, status: Body, expected: type[errors.KubeError]) -> None:
    assert type(errors.error_from_status(code, status)) is expected


def test_a_terminal_error_is_never_a_transient_one() -> None:
    assert not issubclass(errors.TransientError, errors.TerminalError)
    assert not issubclass(errors.NotFound, errors.TransientError | errors.TerminalError)


def test_the_message_is_the_servers_own() -> None:
    assert str(errors.error_from_status(422, {"message": "spec.replicas: too many"})) == "spec.replicas: too many"


def test_the_server_may_say_when_to_come_back() -> None:
    assert errors.error_from_status(429, {}, retry_after=7.0).retry_after == 7.0
