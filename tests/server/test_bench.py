"""The benchmark of servers works: ours alone, for seconds; what it compares takes half an hour."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "server"


@pytest.mark.skipif(
    not shutil.which("wrk") and not shutil.which("apt-get"), reason="the benchmark's client, wrk, cannot be had"
)
def test_the_benchmark_checks_answers_and_yields_numbers() -> None:
    command = [sys.executable, str(BENCH), "--quick"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin"}
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout)
    for what in ("tiny, 64 connections", "tiny, 1 connection"):
        for server in ("ours", "limit"):
            per_second, p50_ms, p99_ms = told["rows"][what][server]
            assert per_second > 0
            assert 0 < p50_ms <= p99_ms
    assert told["left_out"] == {}
