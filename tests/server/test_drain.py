"""SIGTERM loses nothing: not on fresh connections, not on kept ones, and whoever hurries still gets answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from server.support import BOTH_WAYS, Connection, Server, column, echo_directory, running, started, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Balancer:
    """Sends clients where readiness probes say, as late as kube-proxy does."""

    def __init__(self, *servers: Server) -> None:
        self._servers = servers
        self._ready = list(servers)
        self._turn = 0

    def pick(self) -> Server:
        """Take turns among those that were ready at the last probe."""
        self._turn += 1
        return self._ready[self._turn % len(self._ready)]

    async def probe(self) -> None:
        """Look at readiness again and again."""
        while True:
            await asyncio.sleep(0.2)
            self._ready = [server for server in self._servers if await asyncio.to_thread(server.is_ready)]


class Clients:
    """Ask without retries until told to stop; whatever fails is lost."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self.stop = False
        self.answered: Counter[str] = Counter()
        self.moved = 0
        self.lost: list[str] = []

    async def fresh(self) -> None:
        """Use a connection per request."""
        while not self.stop:
            connection = await Connection.to(self._balancer.pick().port)
            await self._one(connection, "fresh")
            await connection.close()

    async def keeping(self) -> None:
        """Keep a connection until the server says otherwise."""
        while not self.stop:
            connection = await Connection.to(self._balancer.pick().port)
            while not self.stop and await self._one(connection, "kept"):
                pass
            await connection.close()

    async def _one(self, connection: Connection, kind: str) -> bool:
        try:
            answer = await connection.ask(column(7))
        except (OSError, EOFError) as error:
            self.lost.append(f"{kind}: {error!r}")
            return False
        if answer.status != 200:
            self.lost.append(f"{kind}: {answer.status}")
        self.answered[kind] += 1
        self.moved += answer.headers.get("connection") == "close"
        return answer.headers.get("connection") != "close"


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve whatever the other does not."""
    with running(echo_directory(tmp_path_factory.mktemp("models") / "m", pause_seconds=0.005)) as server:
        yield server


@pytest.mark.parametrize("way", [*BOTH_WAYS, "fast"])
async def test_a_drained_server_loses_no_request(tmp_path: Path, stays: Server, way: str) -> None:
    directory = echo_directory(tmp_path / "m", pause_seconds=0.005)
    with running(directory, "--http", way, "--drain-delay", "1s") as goes:
        balancer = Balancer(stays, goes)
        clients = Clients(balancer)
        probe = asyncio.create_task(balancer.probe())
        tasks = [asyncio.create_task(work()) for work in (clients.fresh, clients.keeping) for _ in range(4)]
        await until(lambda: min(clients.answered["fresh"], clients.answered["kept"]) > 100)
        goes.terminate()
        code = await asyncio.to_thread(goes.wait)
        clients.stop = True
        await asyncio.gather(*tasks)
        probe.cancel()
    assert clients.lost == []
    assert code == 0
    assert clients.moved > 0, "the server that left told its clients so"


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
