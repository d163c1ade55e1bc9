"""SIGTERM loses nothing: not on fresh connections, not on kept ones, and whoever hurries still gets answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.drain import restarts
from server.support import BOTH_WAYS, Connection, column, echo_directory, running, started, until

if TYPE_CHECKING:
    from pathlib import Path


async def test_rolling_restarts_lose_no_request(tmp_path: Path) -> None:
    story = await restarts(tmp_path, 3)  # `make drain` does 50
    assert story.clients.lost == []
    assert story.codes == [0, 0, 0]
    assert story.clients.moved > 0, "the servers that left told their clients so"


@pytest.mark.parametrize("way", BOTH_WAYS)
async def test_what_is_in_flight_is_finished_and_only_then_the_process_ends(tmp_path: Path, way: str) -> None:
    with running(echo_directory(tmp_path / "m", pause_seconds=0.5), "--http", way) as server:
        connections = [await Connection.to(server.port) for _ in range(3)]
        tasks = [asyncio.create_task(connection.ask(column(i))) for i, connection in enumerate(connections)]
        await until(lambda: server.samples()["inflight_requests"] == 3)
        server.terminate()
        answers = await asyncio.gather(*tasks)
        assert [answer.json["outputs"][0]["data"] for answer in answers] == [[0], [1], [2]]
        assert all(answer.headers["connection"] == "close" for answer in answers)
        for connection in connections:
            await connection.close()
        assert server.wait() == 0


def test_while_draining_probes_and_scrapes_are_answered(tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "m"), "--drain-delay", "60s") as server:
        server.terminate()
        server.wait_for("draining")
        assert server.get("/v2/health/ready", port=server.metrics_port).status == 503
        assert server.get("/v2/health/live", port=server.metrics_port).status == 200
        answer = server.post("/v2/models/m/infer", column(1))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert server.samples()["model_ready"] == 0
        server.terminate()  # the second asks to hurry
        assert server.wait() == 0


def test_a_stuck_forward_pass_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with running(
        echo_directory(tmp_path / "m", pause_seconds=3), "--drain-timeout", "1s", "--request-timeout", "100ms"
    ) as server:
        assert server.post("/v2/models/m/infer", column(1)).status == 504
        server.terminate()
        assert server.wait() == 0


async def test_a_client_that_dribbles_does_not_hold_up_the_end(tmp_path: Path) -> None:
    limits = ("--request-timeout", "1s", "--drain-timeout", "60s")
    with running(echo_directory(tmp_path / "m"), *limits) as server:
        connections = [await Connection.to(server.port) for _ in range(2)]
        connections[0].send_raw(b"POST /v2/mod")
        connections[1].send_raw(b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
        assert server.post("/v2/models/m/infer", column(1)).status == 200, "both have been read"
        server.terminate()
        for connection in connections:
            assert (await connection.receive()).status == 408
            await connection.close()
        assert server.wait() == 0


def test_a_server_told_to_stop_while_it_loads_stops(tmp_path: Path) -> None:
    with started(echo_directory(tmp_path / "m", pause_seconds=30)) as server:
        server.wait_for("listening")
        server.terminate()
        assert server.wait() == 0
