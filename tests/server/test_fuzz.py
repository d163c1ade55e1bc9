"""Whatever a client sends: an answer, never a 500, never a word in the log, never a dead server or one that grows.

Ten tests with 400 cases each in `make test`, with 10,000 each (10^5 in all) in `make test-full`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from model_server.connection import KEEP_ALIVE_SECONDS
from server.support import BOTH_WAYS, PATIENCE_SECONDS, Server, column, echo_directory, running

if TYPE_CHECKING:
    from collections.abc import Iterator

INFER = "/v2/models/m/infer"
CASES = settings(max_examples=2 * settings().max_examples, suppress_health_check=list(HealthCheck))
MOST_GROWTH_BYTES = 12 * 1024 * 1024  # the allocator's slack; in `make test-full` a tenth of this is 250 bytes per case
CLIENT_ERRORS = {400, 404, 405, 408, 413, 415, 431}


class Target:
    """A server, and a connection that stays open beside those that are abused."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._calm = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
        self._used = time.monotonic()

    def serves(self) -> None:
        """See that others are served; what came before this request has been dealt with then."""
        if time.monotonic() - self._used > KEEP_ALIVE_SECONDS / 2:
            self._calm.close()  # as the server does soon, or has done; the next request opens it anew
        self._used = time.monotonic()
        self._calm.request("POST", INFER, column(1))
        answer = self._calm.getresponse()
        assert answer.status == 200
        answer.read()

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.server.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def close(self) -> None:
        self._calm.close()


@pytest.fixture(scope="module", params=BOTH_WAYS)
def target(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Target]:
    """Serve a plain echo."""
    limits = ("--max-batch-size", "8", "--max-body-bytes", "5000", "--max-connection-age", "0s")
    directory = echo_directory(tmp_path_factory.mktemp("models") / "m")
    with running(directory, "--http", request.param, *limits) as server, contextlib.closing(Target(server)) as target:
        for size in range(2000):  # what any server keeps once it has worked
            server.post(INFER, b" " * size)
        target.serves()
        before, said = target.resident_bytes(), len(server.log)
        yield target
        target.serves()
        assert server.samples()['requests_total{code="500"}'] == 0
        assert server.samples()["inflight_requests"] == 0
        assert "".join(server.log[said:]) == ""
        assert target.resident_bytes() - before < MOST_GROWTH_BYTES


def check(target: Target, body: bytes, **headers: str) -> None:
    answer = target.server.post(INFER, body, headers={name.replace("_", "-"): text for name, text in headers.items()})
    assert answer.status in (200, 400)
    told = answer.json
    assert set(told) == {"error"} if answer.status == 400 else told["model_name"] == "m"


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
numbers = some.integers(-3, 3) | some.integers() | some.floats(allow_nan=False)
almost_tensor = some.fixed_dictionaries(
    {},
    optional={
        "name": some.just("x") | some.text(max_size=3) | anything,
        "datatype": some.sampled_from(["FP32", "FP64", "BYTES"]) | anything,
        "shape": some.lists(some.integers(-2, 9) | some.integers(), max_size=3) | anything,
        "data": some.lists(numbers | some.lists(numbers, max_size=3), max_size=9) | anything,
        "parameters": some.fixed_dictionaries({}, optional={"binary_data_size": some.integers(-9, 99) | anything})
        | anything,
    },
)
almost_request = some.fixed_dictionaries(
    {},
    optional={
        "id": some.text(max_size=5) | anything,
        "inputs": some.lists(almost_tensor, max_size=3) | anything,
        "outputs": some.lists(some.fixed_dictionaries({"name": some.sampled_from(["y", "z"])}), max_size=2) | anything,
        "parameters": some.fixed_dictionaries({}, optional={"binary_data_output": anything}) | anything,
    },
)


@CASES
@given(body=some.binary(max_size=200))
def test_any_bytes(target: Target, body: bytes) -> None:
    check(target, body)


@CASES
@given(request=almost_request)
def test_almost_requests(target: Target, request: dict[str, Any]) -> None:
    check(target, json.dumps(request).encode())


@CASES
@given(request=almost_request, tail=some.binary(max_size=40), off=some.integers(-3, 3))
def test_almost_binary_requests(target: Target, request: dict[str, Any], tail: bytes, off: int) -> None:
    head = json.dumps(request).encode()
    check(target, head + tail, inference_header_content_length=str(len(head) + off))


@CASES
@given(cut=some.integers(0, 200), flip=some.integers(0, 200), byte=some.integers(0, 255))
def test_damaged_requests(target: Target, cut: int, flip: int, byte: int) -> None:
    body = bytearray(column(1, 2, 3, id="a"))
    body[flip % len(body)] = byte
    check(target, bytes(body[: len(body) - cut]) if cut < 20 else bytes(body))


BODY = column(3)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = f"Content-Length: {len(BODY)}"
FIELDS = [
    "Connection: close",
    "Connection: keep-alive",
    "Connection: Upgrade",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Expect: 100-continue",
    "Expect: wonders",
    "Content-Encoding: gzip",
    "Inference-Header-Content-Length: 3",
    "Inference-Header-Content-Length: -3",
    " folded",
    "no colon",
    ": no name",
    "Cookie: " + "y" * 9000,
    "Cookie: " + "y" * 70000,
    *(
        f"Content-Length: {value}"
        for value in ("0", "1", "4999", "5001", "-1", "+7", "0x10", "7, 7", "9" * 30, "", "x")
    ),
]
fields = some.sampled_from(FIELDS) | some.text(alphabet=some.characters(codec="latin-1"), max_size=20)
ODDITIES: dict[str, some.SearchStrategy[Any]] = {
    "nothing": some.none(),
    "method": some.sampled_from(["GET", "HEAD", "PUT", "OPTIONS", "CONNECT", "PRI", "post", ""]),
    "path": some.sampled_from(["/v2", "/", "*", "http://h/v2", "//", "/%zz", f"{INFER}?", f"{INFER}#", "\xe9", ""]),
    "version": some.sampled_from(["HTTP/1.0", "HTTP/2.0", "HTTP/11", "HTTP/1.", "HTCPCP/1.0", ""]),
    "more": some.lists(fields, min_size=1, max_size=4),
    "fields": some.lists(fields, max_size=4),
    "end": some.sampled_from(["\n", "\r", "\r\r\n"]),
    "body": some.sampled_from([b"", b"{", BODY[:-1], BODY + b"\r\n", CHUNKED]),
    "chunks": some.sampled_from(
        [CHUNKED, CHUNKED[:-4] + b"A: b\r\n\r\n", b"5\r\n{", b"zz\r\n", b"0\r\n\r\n", b"1" + CHUNKED, b"f" * 20]
    ),
}


@some.composite
def almost_http(draw: some.DrawFn) -> bytes:
    """Write one to three requests with one oddity each; all of it may be cut short or damaged in a byte."""
    data = b""
    for _ in range(draw(some.integers(1, 3))):
        odd = draw(some.sampled_from([*ODDITIES]))
        right = {"method": "POST", "path": INFER, "version": "HTTP/1.1", "fields": ["Host: h", LENGTH], "body": BODY}
        it: dict[str, Any] = {**right, "more": [], "end": "\r\n", odd: draw(ODDITIES[odd])}
        if odd == "chunks":
            it |= {"fields": ["Host: h", "Transfer-Encoding: chunked"], "body": it["chunks"]}
        lines = [f"{it['method']} {it['path']} {it['version']}", *draw(some.permutations(it["fields"] + it["more"]))]
        data += (it["end"].join(lines) + 2 * it["end"]).encode("latin-1") + it["body"]
    damaged = bytearray(data)
    if draw(some.integers(0, 3)) == 0:
        damaged[draw(some.integers(0, len(data) - 1))] = draw(some.integers(0, 255))
    return bytes(damaged[: draw(some.integers(1, len(data)))]) if draw(some.integers(0, 3)) == 0 else bytes(damaged)


# a body beyond the limit, and then no HTTP, in one read
TOO_MUCH = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: 5001\r\n\r\n".encode() + b"y" * 9000
TWO_LAST_ONES = 2 * f"POST {INFER} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()


@CASES
@given(data=almost_http(), at=some.integers(0, 300))
@example(data=TOO_MUCH, at=0)
@example(data=TWO_LAST_ONES, at=0)
def test_almost_http(target: Target, data: bytes, at: int) -> None:
    with socket.create_connection(("127.0.0.1", target.server.port), PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # it was refused and closed before all was sent
            connection.sendall(data[:at])
            connection.sendall(data[at:])
        target.serves()
        with contextlib.suppress(OSError):  # closed already
            connection.shutdown(socket.SHUT_WR)
        rest = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                rest += piece
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        assert status in {100, 200} | CLIENT_ERRORS
        if status != 100 and rest.startswith(b"{"):  # an answer to HEAD has no body
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            assert isinstance(json.loads(rest[:length]), dict)
            rest = rest[length:]
        assert not (b"connection: close" in head.lower() and rest), "the last answer is the last"
