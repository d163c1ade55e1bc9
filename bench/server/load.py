"""The clients: wrk sends as fast as answers come; vegeta at a rate that no slow answer holds back, for the tails."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster import binaries, debian

if TYPE_CHECKING:
    from servers import Request

_LUA = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """What one run of a client has seen; every request was answered 200."""

    per_second: float
    p50_ms: float
    p99_ms: float


class FailedError(Exception):
    """Some requests failed, so the row is worth nothing."""


def wrk() -> list[str]:
    """Return the command: the machine's, else Debian's, unpacked into the cache with the libraries that it needs."""
    if found := shutil.which("wrk"):
        return [found]
    root = debian.unpacked(["wrk"])
    libraries = ":".join(map(str, debian.libraries(root)))
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(root / "usr/bin/wrk")]


def closed(request: Request, *, connections: int, seconds: int) -> Load:
    """Send over some connections, the next request when the last one is answered."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        program = [*wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_LUA), request.url]
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        out = _run([*program, "--", body.name, *headers])
    found = json.loads(out.strip().rpartition("\n")[2])
    if found["failed"] or not found["requests"]:
        raise FailedError(f"{found['failed']} of {found['requests']} requests failed")
    return Load(found["requests"] / found["microseconds"] * 1e6, found["p50"] / 1000, found["p99"] / 1000)


def opened(request: Request, *, per_second: int, connections: int, seconds: int) -> Load:
    """Send at a steady rate; an answer's time counts from when its request was due, also if it had to wait."""
    vegeta = str(binaries.path("vegeta"))
    with tempfile.TemporaryDirectory() as folder:
        body, results = Path(folder, "body"), Path(folder, "results")
        body.write_bytes(request.body)
        target = f"POST {request.url}\n" + "".join(f"{name}: {value}\n" for name, value in request.headers.items())
        attack = [vegeta, "attack", f"-rate={per_second}", f"-duration={seconds}s", f"-body={body}", "-max-body=0"]
        attack += [f"-connections={connections}", f"-max-connections={connections}", f"-output={results}"]
        _run(attack, target)
        found = json.loads(_run([vegeta, "report", "-type=json", str(results)]))
    if found["status_codes"].keys() != {"200"}:
        raise FailedError(f"not only 200: {found['status_codes']} {found['errors'][:3]}")
    if found["rate"] < 0.98 * per_second:
        raise FailedError(f"the client managed only {found['rate']:.0f} of {per_second} requests a second")
    return Load(found["throughput"], found["latencies"]["50th"] / 1e6, found["latencies"]["99th"] / 1e6)


def _run(command: list[str], text: str = "") -> str:
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise FailedError(f"{command[0]} failed: {ended.stderr[-500:]}")
    return ended.stdout
