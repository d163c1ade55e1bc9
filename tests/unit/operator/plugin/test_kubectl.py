"""What kubectl says, as sentences with what to do; its streams, as objects. The program itself: tests/controlplane."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from modelservice_operator.api import GROUP, PLURAL, VERSION
from modelservice_operator.plugin.kubectl import (
    KIND,
    ForbiddenError,
    KubectlError,
    NotFoundError,
    UnreachableError,
    _hear,
    error_of,
)

NOISE = 'E1128 13:49:25.452128    9005 memcache.go:265] "Unhandled Error" err="dial tcp: refused"\n'
FORBIDDEN = (
    'Error from server (Forbidden): modelservices.modelservice.dev "digits" is forbidden: User "jane" cannot patch '
    'resource "modelservices" in API group "modelservice.dev" in the namespace "ml"\n'
)
MAY_NOT = (
    "jane may not patch modelservices.modelservice.dev in namespace ml. Ask an administrator for that right; with the "
    "chart, the cluster's role `view` has those to look, `edit` those to act. "
    "`kubectl auth can-i patch modelservices.modelservice.dev -n ml` tells whether you have it."
)


def test_the_kind_is_that_of_the_api() -> None:
    assert f"{PLURAL}.{VERSION}.{GROUP}" == KIND


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (FORBIDDEN, ForbiddenError, MAY_NOT),
        (
            'Error from server (Forbidden): User "jane" cannot list resource "namespaces" in API group "" at the scope',
            ForbiddenError,
            "jane may not list namespaces. Ask",
        ),
        (
            'Error from server (Forbidden): admission webhook "freeze" denied the request: no changes on Fridays',
            ForbiddenError,
            'The API server refuses this: admission webhook "freeze" denied the request: no changes on Fridays',
        ),
        (
            f"{NOISE}The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n",
            UnreachableError,
            "The API server does not answer: The connection to the server 127.0.0.1:1 was refused. Is the right",
        ),
        (
            f"{NOISE}Unable to connect to the server: dial tcp: lookup nope.invalid: no such host\n",
            UnreachableError,
            "The API server does not answer: Unable to connect to the server",
        ),
        ("Error from server (ServiceUnavailable): apiserver is shutting down", UnreachableError, "The API server does"),
        (
            'error: the server doesn\'t have a resource type "modelservices"\n',
            KubectlError,
            "The cluster knows no ModelService (modelservice.dev/v1alpha1). Is the right context chosen",
        ),
        (
            "Error from server (NotFound): the server could not find the requested resource\n",
            KubectlError,
            "The cluster knows no ModelService",
        ),
        (
            'Error from server (NotFound): modelservices.modelservice.dev "digit" not found\n',
            NotFoundError,
            'modelservices.modelservice.dev "digit" not found',
        ),
        (
            "error: You must be logged in to the server (Unauthorized)\n",
            KubectlError,
            "The API server does not accept your credentials. Log in again",
        ),
        (
            "Error in configuration: context was not found for specified context: nope\n",
            KubectlError,
            "kubectl says: context was not found for specified context: nope. Choose a context that",
        ),
        ("error: stat /nope: no such file or directory\n", KubectlError, "kubectl says: stat /nope: no such file"),
        ("error: something else\n", KubectlError, "kubectl says: something else"),
        ("", KubectlError, "kubectl says: nothing, and fails."),
    ],
)
def test_what_kubectl_says_becomes_a_sentence_with_what_to_do(
    said: str, kind: type[KubectlError], sentence: str
) -> None:
    error = error_of(said)
    assert type(error) is kind
    assert str(error).startswith(sentence)


@pytest.mark.parametrize("indent", [None, 4])
def test_a_stream_of_objects_is_read_one_by_one(indent: int | None) -> None:
    sent = [{"type": "ADDED", "object": {"a": {"b": "}\n{"}}}, {"type": "MODIFIED", "object": {}}]
    heard: list[dict[str, Any] | None] = []
    _hear(iter(io.StringIO("".join(json.dumps(each, indent=indent) + "\n" for each in sent))), heard.append)
    assert heard == [*sent, None]
