"""Several processes are one server: one port, one readiness, one set of counters, one end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cluster import binaries
from server.support import Connection, Server, ask, column, echo_directory, mlp_directory, running, started, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TWO = ("--processes", "2")
INFER = "/v2/models/m/infer"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve an echo that takes its time."""
    directory = echo_directory(tmp_path / "m", pause_seconds=0.05)
    with running(directory, "--max-connection-age", "0s", *TWO) as server:
        yield server


def clients_of(pid: int) -> set[int]:
    """Return the ports of those who are connected to a process."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in inodes and row[3] == "01"}


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Asking:
    """Connections that ask again and again, each until it fails."""

    def __init__(self) -> None:
        self.answered: Counter[int] = Counter()
        self.statuses: Counter[int] = Counter()
        self.lost: dict[int, BaseException] = {}
        self.stop = False

    async def go_on(self, connection: Connection) -> None:
        port = connection.own_port
        try:
            while not self.stop:
                answer = await connection.ask(column(port))
                assert answer.json["outputs"][0]["data"] == [port]
                self.statuses[answer.status] += 1
                self.answered[port] += 1
        except (OSError, EOFError) as error:
            self.lost[port] = error
        finally:
            await connection.close()


async def test_connections_spread_over_the_processes_and_their_counters_add_up(server: Server) -> None:
    connections = [await Connection.to(server.port) for _ in range(30)]
    answers = await asyncio.gather(*(connection.ask(column(1)) for connection in connections))
    assert {answer.status for answer in answers} == {200}
    _, *workers = server.children()
    held = [clients_of(pid) for pid in workers]
    assert all(held), "each has some of 30"
    assert set.union(*held) >= {connection.own_port for connection in connections}
    told = server.samples()
    assert told['requests_total{code="200"}'] == told["request_duration_seconds_count"] == 30
    assert (told["workers"], told["workers_ready"], told["model_ready"]) == (2, 2, 1)
    for connection in connections:
        await connection.close()


async def test_a_killed_process_fails_only_its_own_requests_and_is_replaced(server: Server) -> None:
    connections = [await Connection.to(server.port) for _ in range(30)]
    asking = Asking()
    tasks = [asyncio.create_task(asking.go_on(connection)) for connection in connections]
    await until(lambda: len(asking.answered) == len(connections))
    before = server.samples()
    front, victim, other = server.children()
    hit, spared = clients_of(victim), clients_of(other)
    assert hit
    os.kill(victim, signal.SIGKILL)
    await until(lambda: server.samples()["worker_restarts_total"] == 1)
    await until(server.is_ready)
    later = dict(asking.answered)
    await until(lambda: all(asking.answered[port] > later[port] for port in spared & set(later)))
    assert {connection.own_port for connection in connections} == set(later), "all had been served"
    assert set(asking.lost) <= hit, "connections to the other process go on"
    assert set(asking.lost) == hit & set(later), "what hung on the killed one was told so, at once"
    assert set(asking.statuses) == {200}
    fresh = [ask(server.port, "POST", INFER, body=column(1)).status for _ in range(10)]
    assert fresh == [200] * 10
    asking.stop = True
    await asyncio.gather(*tasks)
    after = server.samples()
    counters = [name for name in before if name.split("{")[0].endswith(("_total", "_count", "_bucket", "_sum"))]
    assert [name for name in counters if after[name] < before[name]] == [], "no counter goes backwards"
    assert after['requests_total{code="500"}'] <= len(asking.lost), "what it had taken, it failed"
    assert (after["inflight_requests"], after["queue_requests"], after["workers_ready"]) == (0, 0, 2)
    assert server.children()[0] == front


async def test_while_a_process_is_missing_the_server_is_not_ready(tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "m", pause_seconds=1), *TWO) as server:
        assert server.is_ready()
        os.kill(server.children()[1], signal.SIGKILL)
        await until(lambda: not server.is_ready())
        told = server.get("/v2/health/ready", port=server.metrics_port).json
        assert (told["ready"], told["phase"]) == (False, "loading")
        assert server.samples()["workers_ready"] == 1
        server.wait_for("ready: m ")  # the second has proven the model: one slow pass
        assert server.is_ready()


async def test_who_has_connected_to_a_process_that_dies_is_answered_by_its_successor(server: Server) -> None:
    victim = server.children()[1]
    os.kill(victim, signal.SIGSTOP)
    connections = [await Connection.to(server.port) for _ in range(30)]
    asked = [asyncio.create_task(connection.ask(column(1))) for connection in connections]
    await asyncio.wait(asked, timeout=1)
    assert not all(task.done() for task in asked), "some wait for the one that was stopped"
    os.kill(victim, signal.SIGKILL)
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
    for connection in connections:
        await connection.close()


async def test_a_process_that_does_not_answer_is_replaced(tmp_path: Path) -> None:
    with running(mlp_directory(tmp_path / "m", 2, 1), *TWO, impatient=True) as server:
        silent = server.children()[1]
        os.kill(silent, signal.SIGSTOP)
        await until(lambda: not server.is_ready())
        server.wait_for("process 1 does not answer: it is killed")
        server.wait_for("ready: m ")
        assert is_gone(silent)


async def test_probes_and_scrapes_have_a_process_that_is_replaced_too(server: Server) -> None:
    assert server.post(INFER, column(1)).status == 200
    os.kill(server.children()[0], signal.SIGKILL)
    await until(server.is_ready)
    told = server.samples()
    assert told['requests_total{code="200"}'] == 1, "it kept none of the counters"
    assert next(name for name in told if name.startswith("info")).count("sha256:") == 1
    assert server.post(INFER, column(1)).status == 200


async def test_what_is_in_flight_everywhere_is_finished(tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "m", pause_seconds=0.5), *TWO) as server:
        connections = [await Connection.to(server.port) for _ in range(12)]
        tasks = [asyncio.create_task(connection.ask(column(i))) for i, connection in enumerate(connections)]
        await until(lambda: server.samples()["inflight_requests"] == 12)
        family = server.children()
        server.terminate()
        answers = await asyncio.gather(*tasks)
        assert [answer.json["outputs"][0]["data"] for answer in answers] == [[i] for i in range(12)]
        assert server.wait() == 0
        assert all(is_gone(pid) for pid in family)
        for connection in connections:
            await connection.close()


async def test_while_all_drain_probes_hear_so_and_a_second_signal_hurries(tmp_path: Path) -> None:
    with running(mlp_directory(tmp_path / "m", 2, 1), "--drain-delay", "60s", *TWO) as server:
        server.terminate()
        await until(lambda: not server.is_ready())
        assert server.get("/v2/health/ready", port=server.metrics_port).json["phase"] == "draining"
        server.terminate()
        assert server.wait() == 0


async def test_a_signal_to_the_whole_group_hurries_nobody(tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "m"), "--drain-delay", "60s", *TWO) as server:
        family = server.children()
        for pid in (*family, server.process.pid):
            os.kill(pid, signal.SIGTERM)
        await until(lambda: server.post(INFER, column(1)).headers.get("connection") == "close")
        assert {server.post(INFER, column(1)).status for _ in range(30)} == {200}, "none has closed its port"
        assert server.children() == family


def test_while_the_model_loads_clients_and_probes_hear_so(tmp_path: Path) -> None:
    with started(echo_directory(tmp_path / "m", pause_seconds=2), *TWO) as server:
        server.learn_ports()
        assert server.get("/v2/health/live", port=server.metrics_port).status == 200
        assert not server.is_ready()
        answer = server.post(INFER, column(1))
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        server.wait_for("ready: m ")
        assert server.is_ready()
        assert server.samples()['rejected_total{reason="loading"}'] == 1
        assert server.post(INFER, column(1)).status == 200


async def test_children_never_outlive_their_parent(server: Server) -> None:
    family = server.children()
    assert len(family) == 3
    server.process.kill()
    await until(lambda: all(is_gone(pid) for pid in family))


def test_a_server_told_to_stop_while_it_loads_stops(tmp_path: Path) -> None:
    with started(echo_directory(tmp_path / "m", pause_seconds=30), *TWO) as server:
        server.wait_for("listening")
        family = server.children()
        server.terminate()
        assert server.wait() == 0
        assert all(is_gone(pid) for pid in family)


def failure(server: Server) -> str:
    code = server.wait()
    told = json.loads(server.report.read_text())
    assert (code, told["reason"]) == (1, "Invalid")
    assert "Traceback" not in "".join(server.log)
    return str(told["message"])


def test_a_model_that_cannot_be_served_ends_them_all_with_its_reason(tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "m")
    np.savez(directory / "golden.npz", **{"inputs.x": np.ones((1, 1), "<f4"), "outputs.y": np.zeros((1, 1), "<f4")})
    with started(directory, *TWO) as server:
        server.wait_for("listening")
        family = server.children()
        assert "does not give its golden outputs" in failure(server)
    assert all(is_gone(pid) for pid in family)


def test_processes_that_never_get_ready_are_given_up(tmp_path: Path) -> None:
    with started(echo_directory(tmp_path / "m", homesick=True), *TWO) as server:
        assert "ends before it is ready, 5 times in a row" in failure(server)
    assert "ended (exit code 3)" in "".join(server.log)


def test_a_process_with_threads_is_not_copied(tmp_path: Path) -> None:
    with started(echo_directory(tmp_path / "m", busy=True), *TWO) as server:
        assert "use --processes 1" in failure(server)


def test_a_port_that_others_share_is_taken_all_the_same(tmp_path: Path, server: Server) -> None:
    with started(echo_directory(tmp_path / "n"), *TWO, "--port", str(server.port)) as second:
        assert f"Port {server.port} cannot be opened on 127.0.0.1: Address already in use" in failure(second)


def test_what_is_scraped_passes_promtool(server: Server) -> None:
    server.post(INFER, column(1))
    text = server.get("/metrics", port=server.metrics_port).body.decode()
    command = [binaries.path("promtool"), "check", "metrics"]
    checked = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
