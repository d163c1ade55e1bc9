"""A server is ready when it has proven its model, and says in one sentence why it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model_server.artefact.digest import content_of
from server.support import Server, column, echo_directory, mlp_directory, running, started

if TYPE_CHECKING:
    from pathlib import Path


def test_while_the_model_loads_probes_hear_so(tmp_path: Path) -> None:
    with started(echo_directory(tmp_path / "m", pause_seconds=2)) as server:
        server.learn_ports()
        assert server.get("/v2/health/live", port=server.metrics_port).status == 200
        assert server.get("/v2/health/ready", port=server.metrics_port).status == 503
        answer = server.post("/v2/models/m/infer", column(1))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert server.samples()["model_ready"] == 0
        server.wait_for("ready: m ")
        assert server.get("/v2/health/ready", port=server.metrics_port).status == 200
        assert server.samples()["model_ready"] == 1
        told = server.samples()
        assert told['model_load_seconds{phase="load"}'] > 0
        assert told['model_load_seconds{phase="warm_up"}'] > 2, "the model pauses on its first input"


def end_of(server: Server) -> tuple[int, dict[str, str]]:
    code = server.wait()
    return code, json.loads(server.report.read_text())


def test_a_changed_model_is_refused_with_both_digests(tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "m")
    pin = "sha256:" + "0" * 64
    (tmp_path / "digest").write_text(pin)
    with started(directory, "--digest-file", str(tmp_path / "digest")) as server:
        code, told = end_of(server)
    assert code == 1
    assert told["reason"] == "DigestMismatch"
    assert pin in told["message"]
    assert content_of(directory).digest in told["message"]
    assert server.report.read_text().count("\n") == 1
    assert "Traceback" not in "".join(server.log)


def test_the_right_digest_is_served_and_shown(tmp_path: Path) -> None:
    directory = mlp_directory(tmp_path / "m", 2, 3, 1)
    digest = content_of(directory).digest
    (tmp_path / "digest").write_text(digest + "\n")
    (tmp_path / "fetch-seconds").write_text("12.5\n")
    with running(directory, "--digest-file", str(tmp_path / "digest")) as server:
        told = next(name for name in server.samples() if name.startswith("info"))
        assert f'digest="{digest}"' in told
        assert 'architecture="mlp"' in told
        assert server.samples()['model_load_seconds{phase="fetch"}'] == 12.5


def test_wrong_golden_outputs_keep_a_server_from_being_ready(tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "m")
    np.savez(directory / "golden.npz", **{"inputs.x": np.ones((1, 1), "<f4"), "outputs.y": np.zeros((1, 1), "<f4")})
    with started(directory) as server:
        code, told = end_of(server)
    assert (code, told["reason"]) == (1, "Invalid")
    assert "does not give its golden outputs: y is off by up to 1" in told["message"]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "m")
    with running(directory) as first, started(directory, "--port", str(first.port)) as second:
        code, told = end_of(second)
    assert code == 1
    assert f"Port {first.port} cannot be opened on 127.0.0.1: Address already in use" in told["message"]


def test_an_idle_server_rests(tmp_path: Path) -> None:
    with running(mlp_directory(tmp_path / "m", 2, 3, 1)) as server:
        server.post("/v2/models/m/infer", b"{}")
        stat = f"/proc/{server.process.pid}/stat"

        def ticks() -> int:
            with open(stat, encoding="ascii") as file:  # noqa: PTH123  # one read of a pseudo-file
                fields = file.read().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before = ticks()
        time.sleep(3)
        assert ticks() - before <= 3, "more than 1 % of a CPU in 3 idle seconds"


def test_python_m_starts_it_too() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "model_server", "--version"],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert run.stdout.strip() == "0.1.0"


@pytest.mark.parametrize("host", ["", "::1"])
def test_it_listens_on_ipv6_too(tmp_path: Path, host: str) -> None:
    with running(mlp_directory(tmp_path / "m", 2, 1), "--host", host) as server:
        import http.client  # noqa: PLC0415

        connection = http.client.HTTPConnection("::1", server.port, timeout=10)
        connection.request("GET", "/v2")
        assert connection.getresponse().status == 200
        connection.close()
