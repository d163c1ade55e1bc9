"""Batches form under load, overload is refused politely, late and left requests are given up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from server.support import BOTH_WAYS, Answer, Connection, Server, column, echo_directory, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSE_SECONDS = 0.2
MAX_QUEUE = 6


@pytest.fixture(scope="module", params=BOTH_WAYS)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve an echo that takes its time, lets few wait, and fails on 13."""
    directory = echo_directory(tmp_path_factory.mktemp("models") / "slow", pause_seconds=PAUSE_SECONDS, unlucky=13)
    limits = ("--max-queue", str(MAX_QUEUE), "--request-timeout", "2s", "--max-batch-size", "4")
    with running(directory, "--http", request.param, *limits) as server:
        yield server


async def one(server: Server, *values: float) -> Answer:
    connection = await Connection.to(server.port)
    try:
        return await connection.ask(column(*values))
    finally:
        await connection.close()


def told(answer: Answer) -> list[float]:
    return list(answer.json["outputs"][0]["data"])


async def shows(server: Server, name: str, value: float) -> None:
    """Wait until a metric has a value."""
    await until(lambda: server.samples()[name] == value)


async def test_an_idle_server_adds_no_delay(server: Server) -> None:
    started = time.perf_counter()
    await one(server, 1)
    assert time.perf_counter() - started < 2 * PAUSE_SECONDS


async def test_requests_that_wait_together_run_together_and_get_their_own_rows(server: Server) -> None:
    before = server.samples()
    first = asyncio.create_task(one(server, 1))
    await shows(server, "inflight_requests", 1)
    answers = await asyncio.gather(*(one(server, value, value) for value in (2, 3, 4, 5)))
    assert [told(answer) for answer in answers] == [[2, 2], [3, 3], [4, 4], [5, 5]]
    assert told(await first) == [1]
    after = server.samples()
    assert after["batch_size_sum"] - before["batch_size_sum"] == 9
    assert after["batch_size_count"] - before["batch_size_count"] in (3, 4), "1, then batches of up to 4 rows"


async def test_one_bad_request_fails_alone(server: Server) -> None:
    first = asyncio.create_task(one(server, 1))
    await shows(server, "inflight_requests", 1)
    answers = await asyncio.gather(*(one(server, value) for value in (2, 13, 4)))
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert [told(answers[0]), told(answers[2])] == [[2], [4]]
    assert "the server's log has the cause" in answers[1].json["error"]
    await first


async def test_overload_is_refused_at_once_and_told_when_to_come_back(server: Server) -> None:
    before = server.samples()
    answers = await asyncio.gather(*(one(server, value) for value in range(20, 50)))
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} == {200, 429}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert all("requests wait already" in answer.json["error"] for answer in refused)
    assert [told(answer) for answer in answers if answer.status == 200], "those let in are served"
    after = server.samples()
    assert after['rejected_total{reason="queue_full"}'] - before['rejected_total{reason="queue_full"}'] == len(refused)
    assert after['requests_total{code="429"}'] - before['requests_total{code="429"}'] == len(refused)
    assert (after["inflight_requests"], after["queue_requests"]) == (0, 0)


async def test_a_request_whose_client_has_gone_does_not_run(server: Server) -> None:
    before = server.samples()
    first = asyncio.create_task(one(server, 1))
    await shows(server, "inflight_requests", 1)
    gone = await Connection.to(server.port)
    gone.send(column(2))
    await shows(server, "queue_requests", 1)
    await gone.close()
    await shows(server, "queue_requests", 0)
    await first
    after = server.samples()
    assert after["batch_size_sum"] - before["batch_size_sum"] == 1
    assert after['rejected_total{reason="cancelled"}'] - before['rejected_total{reason="cancelled"}'] == 1


async def test_a_body_that_does_not_arrive_is_given_up(server: Server) -> None:
    connection = await Connection.to(server.port)
    connection.send_raw(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
    answer = await connection.receive()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert await connection.at_eof()
    await connection.close()


async def test_a_request_that_cannot_be_answered_in_time_is_given_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = echo_directory(tmp_path_factory.mktemp("models") / "stuck", pause_seconds=1)
    with running(directory, "--request-timeout", "300ms") as server:
        running_one, waiting_one = await asyncio.gather(one(server, 1), one(server, 2, 2))
        assert (running_one.status, waiting_one.status) == (504, 504)
        assert "not answered within 0.3 seconds" in waiting_one.json["error"]
        await shows(server, "inflight_requests", 0)
        assert server.samples()['requests_total{code="504"}'] == 2
