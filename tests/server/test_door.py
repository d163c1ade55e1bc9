"""Who is let in, and over what: bearer tokens, TLS, and how both change while clients are connected."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from mounted import mount_secret
from server.identity import Identity
from server.support import (
    BOTH_WAYS,
    PATIENCE_SECONDS,
    Answer,
    Connection,
    Server,
    ask,
    column,
    echo_directory,
    running,
    started,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFER = "/v2/models/m/infer"
TOKEN = "right-token_1.~+/="  # noqa: S105  # of no one
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
HEAD = f"Authorization: Bearer {TOKEN}\r\n"


@pytest.fixture(scope="module", params=BOTH_WAYS)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve an echo to who has a token; whatever clients do, the log says nothing of it."""
    folder = tmp_path_factory.mktemp("models")
    tokens = mount_secret(folder / "tokens", {"a": f"{TOKEN}\n", "b": "other-token"})
    with running(echo_directory(folder / "m"), "--http", request.param, "--tokens-dir", str(tokens)) as server:
        said = len(server.log)
        yield server
        assert server.post(INFER, column(1), headers=KNOWN).status == 200, "it still serves"
        assert server.samples()["inflight_requests"] == 0
        assert server.log[said:] == []
        assert TOKEN not in "".join(server.log)


async def answer_to(server: Server, data: bytes) -> Answer:
    """Send raw bytes on a connection of its own."""
    connection = await server.connect()
    connection.send_raw(data)
    answer = await asyncio.wait_for(connection.receive(), 10)
    await connection.close()
    return answer


@pytest.mark.parametrize(
    ("path", "to_all", "to_known"),
    [
        ("/v2/health/live", 200, 200),
        ("/v2/health/ready", 200, 200),
        ("/v2/health/%6cive", 200, 200),
        ("/v2", 401, 200),
        ("/v2/models/m", 401, 200),
        ("/v2/models/m/ready", 401, 200),
        ("/v2/models/other", 401, 404),
        ("/v2/health/other", 401, 404),
        ("/v2/health/live/", 401, 404),
        ("//v2/health/live", 401, 404),
        ("/v2/models/m/infer", 401, 405),
        ("/v2/models/m/explain", 401, 405),
    ],
)
def test_all_but_health_needs_a_token(server: Server, path: str, to_all: int, to_known: int) -> None:
    assert (server.get(path).status, server.get(path, headers=KNOWN).status) == (to_all, to_known)


def test_probes_and_scrapes_have_a_port_without(server: Server) -> None:
    for path in ("/metrics", "/v2/health/live", "/v2/health/ready"):
        assert server.get(path, port=server.metrics_port).status == 200


def test_a_stranger_is_told_how_to_come_in_and_is_counted(server: Server) -> None:
    before = server.samples()
    missing, wrong = server.post(INFER, column(1)), server.post(INFER, column(1), headers={"Authorization": "Bearer x"})
    assert (missing.status, missing.headers["www-authenticate"]) == (401, "Bearer")
    assert (wrong.status, wrong.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert [set(answer.json) for answer in (missing, wrong)] == [{"error"}, {"error"}]
    after = server.samples()
    for name in ('requests_total{code="401"}', 'rejected_total{reason="unauthorized"}'):
        assert after[name] - before[name] == 2


def test_every_token_of_the_secret_is_let_in(server: Server) -> None:
    for token in (TOKEN, "other-token"):
        assert server.post(INFER, column(1), headers={"Authorization": f"bearer {token}"}).status == 200


async def test_in_a_pipeline_each_request_is_judged_by_itself(server: Server) -> None:
    connection = await server.connect()
    expected = []
    for value in range(120):
        known = value % 3 != 0
        connection.send(column(value), head=HEAD if known else "")
        expected.append(value if known else 401)
        if value % 10 == 0:
            connection.send_raw(
                f"GET /v2 HTTP/1.1\r\nHost: h\r\n{HEAD}\r\nGET /v2 HTTP/1.1\r\nHost: h\r\n\r\n".encode()
            )
            expected += ["described", 401]
    told: list[object] = []
    for _ in expected:
        answer = await connection.receive()
        found = answer.json
        told.append(
            "described" if "extensions" in found else found["outputs"][0]["data"][0] if "outputs" in found else 401
        )
        assert answer.status == (401 if told[-1] == 401 else 200)
        assert "connection" not in answer.headers
    assert told == expected
    await connection.close()


async def test_a_stranger_s_body_is_not_looked_at(server: Server) -> None:
    for body in (b"{", b"\x00" * 60_000):
        head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nContent-Encoding: gzip\r\n\r\n"
        answer = await answer_to(server, head.encode() + body)
        assert (answer.status, answer.headers.get("connection")) == (401, None)


@pytest.mark.parametrize("path", [INFER, "/v2"])
@pytest.mark.parametrize("field", ["Content-Length: 9\r\nExpect: 100-continue", "Content-Length: 99999"])
async def test_a_stranger_s_long_body_is_not_waited_for(server: Server, path: str, field: str) -> None:
    answer = await answer_to(server, f"POST {path} HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n".encode())
    assert (answer.status, answer.headers["connection"]) == (401, "close")


async def test_a_stranger_s_body_without_end_is_cut_off(server: Server) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"%x\r\n%s\r\n" % (50_000, b" " * 50_000)
    answer = await answer_to(server, head.encode() + 3 * chunks)
    assert (answer.status, answer.headers["connection"]) == (401, "close")


CASES = settings(max_examples=settings().max_examples // 2, suppress_health_check=list(HealthCheck))
tokens = some.sampled_from([TOKEN, TOKEN[:-1], TOKEN + "=", TOKEN.upper(), "", "x"])
schemes = some.sampled_from(["Bearer ", "bearer  ", "Bearer", "Basic ", "", "Bearer\t", "Bearer,", "Token "])
values = some.tuples(schemes, tokens | some.text(some.characters(codec="latin-1", exclude_characters="\r\n\0"))).map(
    "".join
)


@CASES
@given(values=some.lists(values, max_size=2))
def test_almost_credentials(server: Server, values: list[str]) -> None:
    lines = "".join(f"Authorization: {value}\r\n" for value in values).encode("latin-1")
    body = column(1)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as connection:
        head = b"POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n"
        connection.sendall(head % (INFER.encode(), len(body), lines) + body)
        status = int(connection.recv(65536).split()[1])
    scheme, _, token = values[0].strip(" \t").partition(" ") if len(values) == 1 else ("", "", "")
    is_known = scheme.lower() == "bearer" and token.strip(" ") == TOKEN
    assert status == 200 if is_known else status in (400, 401)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_while_the_model_loads_strangers_hear_nothing_of_it(tmp_path: Path, processes: str) -> None:
    tokens = mount_secret(tmp_path / "tokens", {"a": TOKEN})
    flags = ("--tokens-dir", str(tokens), "--processes", processes)
    with started(echo_directory(tmp_path / "m", pause_seconds=2), *flags) as server:
        server.learn_ports()
        assert server.post(INFER, column(1)).status == 401
        assert server.post(INFER, column(1), headers=KNOWN).status == 503
        assert server.get("/v2/health/ready").status == 503
        server.wait_for("ready: m ")
        assert server.samples()['requests_total{code="401"}'] == 1


@pytest.mark.parametrize(
    ("flags", "reason", "said"),
    [
        (("--tokens-dir", "none"), "ConfigMissing", "spec.security.auth.tokensSecretRef"),
        (("--tls-cert", "none.crt", "--tls-key", "none.key"), "ConfigMissing", "spec.security.tls.secretRef"),
    ],
)
def test_without_what_was_asked_for_nothing_is_served(tmp_path: Path, flags: Any, reason: str, said: str) -> None:  # noqa: ANN401
    with started(echo_directory(tmp_path / "m"), *flags) as server:
        assert server.wait() == 1
    told = json.loads(server.report.read_text())
    assert told["reason"] == reason
    assert said in told["message"]


# -- what changes meanwhile


async def statuses(connections: list[Connection], token: str) -> set[int]:
    for connection in connections:
        connection.send(column(1), head=f"Authorization: Bearer {token}\r\n")
    return {(await connection.receive()).status for connection in connections}


async def until_all_answer(connections: list[Connection], expected: dict[str, int]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any([await statuses(connections, token) != {status} for token, status in expected.items()]):
            pass


async def test_tokens_change_in_all_processes_and_every_connection_stays(tmp_path: Path) -> None:
    secret = mount_secret(tmp_path / "tokens", {"first": "old"})
    flags = ("--tokens-dir", str(secret), "--processes", "2", "--max-connection-age", "0s")
    with running(echo_directory(tmp_path / "m"), *flags, impatient=True) as server:
        connections = [await server.connect() for _ in range(12)]
        await until_all_answer(connections, {"old": 200, "new": 401})
        mount_secret(secret, {"first": "old", "second": "new"})
        await until_all_answer(connections, {"old": 200, "new": 200})
        mount_secret(secret, {"second": "new"})
        await until_all_answer(connections, {"old": 401, "new": 200})
        server.wait_for("read again: 1 bearer token")

        mount_secret(secret, {"second": "no token", "third": ""})
        server.wait_for("There is no bearer token in .* stays in force")
        mount_secret(secret, {})
        server.wait_for("There is no bearer token in .* stays in force")
        await until_all_answer(connections, {"old": 401, "new": 200, "": 401})

        os.kill(server.children()[1], signal.SIGKILL)  # its successor knows what it knew
        server.wait_for("ready: m ")
        fresh = [await server.connect() for _ in range(12)]
        await until_all_answer(fresh, {"old": 401, "new": 200})
        mount_secret(secret, {"fourth": "newest"})
        await until_all_answer(fresh, {"old": 401, "new": 401, "newest": 200})
        for connection in (*connections, *fresh):
            await connection.close()
    assert "".join(server.log).count("read again: 2 bearer tokens") == 1, "one process tells it for all"


def shown_to(connection: Connection) -> str:
    return str(dict(part for (part,) in connection._writer.get_extra_info("peercert")["subject"])["commonName"])


async def connections_that_were_shown(name: str, server: Server) -> list[Connection]:
    """Connect until all processes show a certificate."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            connections = [await server.connect() for _ in range(8)]
            if {shown_to(connection) for connection in connections} == {name}:
                return connections
            for connection in connections:
                await connection.close()


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_certificates_change_and_no_connection_is_dropped(tmp_path: Path, processes: str) -> None:
    identity = Identity(tmp_path, "one")
    flags = ("--processes", processes, "--max-connection-age", "0s", *identity.flags)
    with running(echo_directory(tmp_path / "m", pause_seconds=0.01), *flags, impatient=True) as server:
        server.tls = identity.trust
        kept = await connections_that_were_shown("one", server)
        for name in ("two", "three"):
            identity.change(name)
            kept += await connections_that_were_shown(name, server)
            assert {(await connection.ask(column(1))).status for connection in kept} == {200}
            server.wait_for("read again: the certificate ")
        assert server.samples()['secret_last_reload_successful{secret="tls"}'] == 1
        expires = server.samples()["certificate_expiration_timestamp_seconds"]
        identity.change("four", key_of="one")
        server.wait_for("cannot be used for TLS: key values mismatch.* stays in force")
        assert server.samples()['secret_last_reload_successful{secret="tls"}'] == 0
        assert server.samples()["certificate_expiration_timestamp_seconds"] == expires > time.time()
        kept += await connections_that_were_shown("three", server)
        assert {(await connection.ask(column(1))).status for connection in kept} == {200}
        for connection in kept:
            await connection.close()


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_over_tls_what_is_in_flight_is_finished_and_who_says_no_goodbye_is_not_waited_for(
    tmp_path: Path, processes: str
) -> None:
    identity = Identity(tmp_path, "one")
    with running(
        echo_directory(tmp_path / "m", pause_seconds=0.5), "--processes", processes, *identity.flags
    ) as server:
        server.tls = identity.trust
        connections = [await server.connect() for _ in range(8)]
        deaf = ssl.create_default_context(cafile=tmp_path / "pki/ca.crt").wrap_socket(
            socket.create_connection(("127.0.0.1", server.port)), server_hostname="127.0.0.1"
        )
        tasks = [asyncio.create_task(connection.ask(column(i))) for i, connection in enumerate(connections)]
        await until(lambda: server.samples()["inflight_requests"] == 8)
        server.terminate()
        answers = await asyncio.gather(*tasks)
        assert [answer.json["outputs"][0]["data"] for answer in answers] == [[i] for i in range(8)]
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        assert server.wait() == 0
        assert not [line for line in server.log if "ERROR" in line]
        for connection in connections:
            await connection.close()
        deaf.close()


@pytest.mark.parametrize("way", BOTH_WAYS)
def test_over_tls_a_slow_reader_has_its_last_answer_to_the_end(tmp_path: Path, way: str) -> None:
    """The buffers of both sides take a part of it, and closing waits for the rest to be read."""
    rows = 2_000_000
    identity = Identity(tmp_path, "one")
    parameters = {"binary_data_size": 4 * rows}
    tensor = {"name": "x", "shape": [rows, 1], "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    request = (
        f"POST {INFER} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(head) + 4 * rows}\r\n"
        f"Inference-Header-Content-Length: {len(head)}\r\n\r\n"
    )
    flags = ("--http", way, "--max-batch-size", str(rows), *identity.flags)
    with running(echo_directory(tmp_path / "m"), *flags) as server, socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        plain.connect(("127.0.0.1", server.port))
        with identity.trust.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(request.encode() + head + bytes(4 * rows))
            received = len(connection.recv(65536))
            time.sleep(4)  # it reads nothing, for longer than the server waits for a goodbye
            while piece := connection.recv(1 << 20):
                received += len(piece)
    assert received > 4 * rows


@CASES
@given(data=some.binary(max_size=400) | some.just(b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"))
def test_what_is_no_tls_is_not_answered_and_leaves_no_trace(over_tls: Server, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", over_tls.port), PATIENCE_SECONDS) as connection:
        connection.sendall(data)
        with contextlib.suppress(OSError):  # closed already
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert not connection.recv(65536).startswith(b"HTTP")


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    identity = Identity(folder, "one")
    with running(echo_directory(folder / "m"), *identity.flags) as server:
        server.tls = identity.trust
        said = len(server.log)
        yield server
        assert server.post(INFER, column(1)).status == 200
        assert server.log[said:] == []


def test_over_tls_strangers_and_friends_are_told_apart_too(tmp_path: Path) -> None:
    identity = Identity(tmp_path, "one")
    tokens = mount_secret(tmp_path / "tokens", {"a": TOKEN})
    with running(echo_directory(tmp_path / "m"), "--tokens-dir", str(tokens), *identity.flags) as server:
        server.tls = identity.trust
        assert server.post(INFER, column(1)).status == 401
        assert server.post(INFER, column(1), headers=KNOWN).status == 200
        with pytest.raises(OSError, match=r"(closed|reset)"):
            ask(server.port, "GET", "/v2/health/live")
        assert server.get("/metrics", port=server.metrics_port).status == 200, "the second port stays plain"
