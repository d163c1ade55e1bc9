"""What the parser's callbacks raise is told apart: a client's mistake, or a fault of ours. The rest is tests/server."""

from __future__ import annotations

import httptools
import pytest

from model_server.connection import _problem
from model_server.errors import RequestError


def raised(cause: Exception | None) -> httptools.HttpParserError:
    error = httptools.HttpParserCallbackError("a callback failed")
    error.__context__ = cause
    return error


@pytest.mark.parametrize("cause", [None, httptools.HttpParserInvalidURLError(), "\xff".encode("latin-1")])
def test_what_is_not_http_is_the_clients_mistake(cause: Exception | bytes | None) -> None:
    if isinstance(cause, bytes):
        cause = UnicodeDecodeError("ascii", cause, 0, 1, "not ASCII")
    assert _problem(raised(cause)).status == 400


def test_a_limit_is_told_in_its_own_words() -> None:
    assert _problem(raised(RequestError(431, "too large"))).status == 431


def test_a_fault_of_ours_is_a_500_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert _problem(raised(KeyError("secret"))).status == 500
    assert "KeyError" in caplog.text
