"""HTTP/1.1 as clients really speak it: slow, greedy, broken, in a hurry, gone; on the hot path and through ASGI."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.identity import Identity
from server.support import BOTH_WAYS, Server, column, echo_directory, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFER = "/v2/models/m/infer"
MAX_BODY = 200_000


@pytest.fixture(scope="module", params=[*BOTH_WAYS, "TLS"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve an echo with small limits."""
    folder = tmp_path_factory.mktemp("models")
    flags = ["--max-body-bytes", str(MAX_BODY), "--request-timeout", "1s", "--max-batch-size", "50000"]
    identity = Identity(folder, "one") if request.param == "TLS" else None
    flags += identity.flags if identity else ("--http", request.param)
    with running(echo_directory(folder / "m"), *flags) as server:
        server.tls = identity.trust if identity else None
        yield server
        assert server.post(INFER, column(1)).status == 200, "it still serves"
        assert server.samples()["inflight_requests"] == 0


@pytest.fixture(scope="module", params=BOTH_WAYS)
def slow(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve an echo that takes its time."""
    directory = echo_directory(tmp_path_factory.mktemp("models") / "m", pause_seconds=0.3)
    with running(directory, "--http", request.param) as server:
        yield server


async def answer_to(server: Server, data: bytes) -> tuple[int, str]:
    """Send raw bytes on a connection of its own; return the answer's status and what it says of the connection."""
    connection = await server.connect()
    connection.send_raw(data)
    answer = await asyncio.wait_for(connection.receive(), 10)
    await connection.close()
    return answer.status, answer.headers.get("connection", "")


def request(body: bytes, *, head: str = "", version: str = "1.1") -> bytes:
    return f"POST {INFER} HTTP/{version}\r\nHost: h\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


async def test_a_pipeline_of_hundreds_is_answered_in_order_with_other_requests_between(server: Server) -> None:
    connection = await server.connect()
    expected: list[object] = []
    for value in range(300):
        if value % 7 == 0:
            connection.send_raw(b"GET /v2/models/m HTTP/1.1\r\nHost: h\r\n\r\n")
            expected.append("described")
        if value % 11 == 0:
            connection.send(b"{")
            expected.append("refused")
        connection.send(column(value))
        expected.append(value)
    told: list[object] = []
    for _ in expected:
        answer = (await connection.receive()).json
        told.append(
            "described" if "platform" in answer else "refused" if "error" in answer else answer["outputs"][0]["data"][0]
        )
    assert told == expected
    await connection.close()


async def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    connection = await server.connect()
    for byte in request(column(5)):
        connection.send_raw(bytes([byte]))
        await asyncio.sleep(0)
    assert (await connection.receive()).status == 200
    await connection.close()


async def test_chunks_of_any_size_make_one_body_and_trailers_are_no_headers(server: Server) -> None:
    body = column(*range(4000))
    for size in (1, 999, len(body)):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        framed = b"".join(b"%x;extension=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        tail = b"0\r\nInference-Header-Content-Length: 1\r\n\r\n"
        assert await answer_to(server, head + framed + tail) == (200, "")


@pytest.mark.parametrize("line", ["GET", "POST"])
async def test_a_head_without_end_is_refused(server: Server, line: str) -> None:
    head = f"{line} {INFER} HTTP/1.1\r\n".encode() + b"".join(b"X-%d: y\r\n" % n for n in range(20_000))
    assert await answer_to(server, head) == (431, "close")
    whole = f"{line} {INFER} HTTP/1.1\r\nCookie: {'y' * 70_000}\r\n\r\n".encode()
    assert await answer_to(server, whole) == (431, "close")


async def test_an_announced_body_is_refused_before_it_is_sent(server: Server) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n"
    assert await answer_to(server, head.encode()) == (413, "close")


async def test_a_client_that_sends_on_after_a_refusal_still_reads_it(server: Server) -> None:
    for head in (f"Content-Length: {50 * MAX_BODY}", "Transfer-Encoding: chunked"):
        connection = await server.connect()
        connection.send_raw(f"POST {INFER} HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n".encode())
        for _ in range(50):
            connection.send_raw(b"%x\r\n%s\r\n" % (MAX_BODY, b" " * MAX_BODY))
            await asyncio.sleep(0)
        answer = await asyncio.wait_for(connection.receive(), 10)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await asyncio.wait_for(connection.at_eof(), 10)
        await connection.close()


async def test_leave_to_send_is_given_in_its_turn_only(slow: Server) -> None:
    connection = await slow.connect()
    connection.send(column(1))
    body = column(2)
    connection.send_raw(request(body, head="Expect: 100-continue\r\n").removesuffix(body))
    assert (await connection.receive()).json["outputs"][0]["data"] == [1]
    assert await asyncio.wait_for(connection._reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send_raw(body)
    assert (await connection.receive()).json["outputs"][0]["data"] == [2]
    await connection.close()


async def test_who_sends_at_once_is_asked_nothing(server: Server) -> None:
    assert await answer_to(server, request(column(1), head="Connection: close\r\n")) == (200, "close")


async def test_old_clients_get_their_answer_and_its_end(server: Server) -> None:
    for head in ("", "Connection: keep-alive\r\n"):
        connection = await server.connect()
        connection.send_raw(request(column(1), head=head, version="1.0"))
        assert (await connection.receive()).headers["connection"] == "close"
        assert await asyncio.wait_for(connection.at_eof(), 10)
        await connection.close()


async def test_an_offer_of_http_2_is_declined_by_an_answer(server: Server) -> None:
    connection = await server.connect()
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
    for value in (1, 2):  # as Java's client does, first of all
        connection.send_raw(request(column(value), head=offer if value == 1 else ""))
        assert (await connection.receive()).json["outputs"][0]["data"] == [value]
    await connection.close()


async def test_a_pipeline_of_thousands_of_offers_is_answered(server: Server) -> None:
    connection = await server.connect()
    offer = b"GET /v2 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    connection.send_raw(3000 * offer)
    for _ in range(3000):
        assert (await asyncio.wait_for(connection.receive(), 10)).status == 200
    await connection.close()


async def test_a_proxy_is_not_what_this_is(server: Server) -> None:
    assert await answer_to(server, b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n") == (405, "close")


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 2"),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: 2, 2",),
        ("Content-Length: +2",),
        ("Content-Length : 2",),
        ("Content-Length: 2", "Transfer-Encoding : chunked"),
        ("Transfer-Encoding: chunked, gzip",),
        ("Content-Length: 2", "X: a\nTransfer-Encoding: chunked"),
    ],
)
async def test_a_body_whose_end_two_readers_could_see_differently_is_refused(
    server: Server, fields: tuple[str, ...]
) -> None:
    head = "\r\n".join((f"POST {INFER} HTTP/1.1", "Host: h", *fields))
    assert await answer_to(server, f"{head}\r\n\r\n{{}}".encode()) == (400, "close")


async def test_a_body_whose_chunks_make_no_sense_is_told_so(server: Server) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = await server.connect()
    connection.send_raw(head.encode() + b"2\r\n{}\r\n")
    await until(lambda: True)  # a turn of the server's loop or two: the application has begun to read
    connection.send_raw(b"two\r\n{}\r\n")
    answer = await asyncio.wait_for(connection.receive(), 10)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.json == {"error": "This is not HTTP/1.1."}
    await connection.close()


async def test_head_of_the_inference_path_has_no_body(server: Server) -> None:
    connection = await server.connect()
    connection.send_raw(f"HEAD {INFER} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    head = await asyncio.wait_for(connection._reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 405 ")
    assert (await connection.ask(column(1))).status == 200, "what follows is the next answer"
    await connection.close()


async def test_escaped_paths_and_queries_mean_the_same(server: Server) -> None:
    connection = await server.connect()
    for path in ("/v2/models/%6d/infer", f"{INFER}?trace=1"):
        connection.send(column(1), path=path)
        assert (await connection.receive()).status == 200
    await connection.close()


@pytest.mark.parametrize("begun", ["POST /v2/mod", f"POST {INFER} HTTP/1.1\r\nContent-Length: 9\r\n\r\n{{"])
async def test_a_client_that_dribbles_is_given_up(server: Server, begun: str) -> None:
    connection = await server.connect()
    connection.send_raw(begun.encode())
    answer = await asyncio.wait_for(connection.receive(), 10)
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert await asyncio.wait_for(connection.at_eof(), 10)
    await connection.close()


async def test_a_client_that_does_not_read_is_not_served_without_end(server: Server) -> None:
    connection = await server.connect()
    connection._writer.transport.pause_reading()
    connection._reader._limit = 1
    body = column(*range(9000))
    before = server.samples()['requests_total{code="200"}']
    sent = 0

    async def send() -> None:
        nonlocal sent
        while True:
            connection.send(body)
            await connection._writer.drain()
            sent += 1

    with pytest.raises((ConnectionError, TimeoutError)):
        await asyncio.wait_for(send(), 30)
    answered = server.samples()['requests_total{code="200"}'] - before
    assert answered < sent, "reading stops before all that was sent is answered"
    await connection.close()


async def test_a_client_that_stops_sending_has_gone(slow: Server) -> None:
    connection = await slow.connect()
    connection.send(column(1))
    await until(lambda: slow.samples()["inflight_requests"] == 1)
    connection._writer.write_eof()
    await until(lambda: slow.samples()["inflight_requests"] == 0)
    assert await asyncio.wait_for(connection.at_eof(), 10)
    await connection.close()


async def test_a_client_that_leaves_a_pipeline_behind_is_forgotten(slow: Server) -> None:
    connection = await slow.connect()
    for value in range(20):
        connection.send(column(value))
    await until(lambda: slow.samples()["inflight_requests"] == 1)
    connection._writer.transport.abort()
    await until(lambda: slow.samples()["inflight_requests"] == 0)


async def test_nonsense_after_a_request_does_not_cost_its_answer(slow: Server) -> None:
    connection = await slow.connect()
    connection.send(column(1))
    connection.send_raw(b"\x00\x01 nonsense\r\n\r\n")
    assert [(await connection.receive()).status for _ in range(2)] == [200, 400]
    assert await asyncio.wait_for(connection.at_eof(), 10)
    await connection.close()


@pytest.mark.parametrize("way", BOTH_WAYS)
async def test_an_old_connection_is_closed_by_an_answer_and_never_between_answers(tmp_path: Path, way: str) -> None:
    async def asked_until_closed(path: str) -> int:
        connection = await server.connect()
        asked = 0
        while True:
            connection.send_raw(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() + request(column(asked)))
            answers = [await connection.receive() for _ in range(2)]
            assert [answer.status for answer in answers] == [200, 200]
            asked += 1
            if answers[1].headers.get("connection") == "close":
                break
            assert "connection" not in answers[0].headers, "those behind it would be lost"
        assert await asyncio.wait_for(connection.at_eof(), 10)
        await connection.close()
        return asked

    with running(echo_directory(tmp_path / "m"), "--http", way, "--max-connection-age", "2s") as server:
        asked = await asyncio.gather(*(asked_until_closed("/v2") for _ in range(20)))
    assert min(asked) > 1
    assert len(set(asked)) > 1, "not all at once"
