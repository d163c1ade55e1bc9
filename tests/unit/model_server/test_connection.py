"""What the parser's callbacks raise is told apart, and where a body lies in memory. The rest is tests/server."""

from __future__ import annotations

import httptools
import numpy as np
import pytest

from model_server.connection import Exchange, _problem
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


@pytest.mark.parametrize("json_bytes", range(64, 81))
def test_the_tensors_of_a_body_in_pieces_are_a_models_to_work_in(json_bytes: int) -> None:
    values = np.arange(100_000, dtype=np.float64)
    whole = b" " * json_bytes + values.tobytes()
    exchange = Exchange("/", [(b"inference-header-content-length", b"%d" % json_bytes)], 0.0)
    for at in range(0, len(whole), 60_000):
        exchange.add(whole[at : at + 60_000])
    body = exchange.body()
    assert bytes(body) == whole
    found = np.frombuffer(memoryview(body)[json_bytes:], dtype=np.float64)
    assert found.flags.carray
    assert np.array_equal(found, values)


@pytest.mark.parametrize("length", [b"", b"many", b"9" * 5000])
def test_a_body_is_whole_whatever_is_said_of_its_json(length: bytes) -> None:
    exchange = Exchange("/", [(b"inference-header-content-length", length)], 0.0)
    for piece in (b"a" * 20_000, b"b" * 20_000, b"c"):
        exchange.add(piece)
    assert bytes(exchange.body()) == b"a" * 20_000 + b"b" * 20_000 + b"c"
