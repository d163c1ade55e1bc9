"""The servers: how each is started and asked, and that it answers what torch answers before anything is timed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from cluster import ports
from elsewhere import cpu_seconds
from environments import PEERS, python_of
from figures import LIMIT, OURS
from shapes import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
NAMES = ("fastapi", "mosec", "mlserver", "kserve", "litserve", "bentoml")
_PATIENCE_SECONDS = 90
_REST_SECONDS = 20
_IDLE_CPUS = 0.2
# One computing thread per process for everyone, and nobody calls home.
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "BENTOML_DO_NOT_TRACK": "True",
}


@dataclass(frozen=True)
class Request:
    """What a client sends."""

    url: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Peer:
    """What differs between other people's servers, beside their adapters."""

    path: str  # {model} is the model's name
    command: Sequence[str] = ("serve.py",)
    v2: bool = True


_PEERS = {
    "fastapi": Peer("/infer"),
    "mosec": Peer(
        "/inference", ("serve.py", "--address=127.0.0.1", "--port={port}", "--timeout=60000", "--log-level=warning")
    ),
    "mlserver": Peer("/v2/models/{model}/infer"),
    "kserve": Peer("/v2/models/{model}/infer", ("serve.py", "--log_config_file=log.json")),
    "litserve": Peer("/predict"),
    "bentoml": Peer("/infer", ("-m", "bentoml", "serve", "serve:Model", "--host=127.0.0.1", "--port={port}"), v2=False),
}


@dataclass(frozen=True)
class Server:
    """One that runs."""

    name: str
    model: Model
    port: int
    pid: int

    def pids(self) -> list[int]:
        """Return all its processes."""
        return [self.pid, *(pid for pid, _ in descendants(self.pid))]

    def request(self, row: int = 0, *, binary: bool = False) -> Request:
        """Ask about a row, as this server wants to be asked."""
        rows = self.model.rows[row : row + 1]
        tensor: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": rows.shape}
        path = f"/v2/models/{self.model.name}/infer"
        if binary:
            tensor["parameters"] = {"binary_data_size": rows.nbytes}
            head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
            headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
            return Request(f"http://127.0.0.1:{self.port}{path}", head + rows.tobytes(), headers)
        peer = _PEERS.get(self.name)
        text = json.dumps({"inputs": [{**tensor, "data": rows.reshape(-1).tolist()}]})
        if peer is not None:
            path = peer.path.format(model=self.model.name)
            text = text if peer.v2 else json.dumps({"x": rows.tolist()})
        return Request(f"http://127.0.0.1:{self.port}{path}", text.encode(), {"Content-Type": "application/json"})

    def answer(self, request: Request) -> np.ndarray:
        """Ask once."""
        asked = urllib.request.Request(request.url, request.body, request.headers)
        with urllib.request.urlopen(asked, timeout=_PATIENCE_SECONDS) as answer:
            text, size = answer.read(), answer.headers.get("Inference-Header-Content-Length")
        if self.name == LIMIT:
            values = np.frombuffer(text, "<f4")
        elif size is not None:
            values = np.frombuffer(text[int(size) :], "<f4")
        else:
            found = json.loads(text)
            values = np.asarray(found["outputs"][0]["data"] if isinstance(found, dict) else found, np.float32)
        return values.reshape(-1, MODELS[self.model.name].answer)

    def check(self, *, tolerance: float, binary: bool = False) -> None:
        """Ask about different rows at once: each client must get what torch says about its own row, however batched."""
        with ThreadPoolExecutor(8) as pool:
            requests = [self.request(row, binary=binary) for row in range(len(self.model.rows))]
            found = np.concatenate(list(pool.map(self.answer, requests)))
        right = self.model.answers
        worst = float(np.max(np.abs(found - right)) / np.max(np.abs(right)))
        assert worst <= tolerance, (
            f"{self.name} answers {self.model.name} wrongly: off by {worst:.2g} of the largest value"
        )


@dataclass(frozen=True)
class Model:
    """One model, written for our server, with rows to ask about and what torch answers to each."""

    name: str
    directory: Path
    rows: np.ndarray
    answers: np.ndarray


def write_models(folder: Path, *names: str) -> dict[str, Model]:
    """Write models; in a process of its own, because one that has torch would spoil the figures about memory."""
    subprocess.run([sys.executable, str(HERE / "models.py"), str(folder), *names], check=True, env=ENVIRONMENT)
    models = {}
    for name in names:
        with np.load(folder / f"{name}.npz") as arrays:
            models[name] = Model(name, folder / name, arrays["rows"], arrays["answers"])
    return models


def our_command(directory: Path, port: int, processes: int, *flags: str) -> list[str]:
    """Return our server's command line."""
    command = [sys.executable, "-m", "model_server", "serve", str(directory), "--host=127.0.0.1", f"--port={port}"]
    return [*command, "--metrics-port=0", "--drain-delay=0s", f"--processes={processes}", *flags]


@contextlib.contextmanager
def serving(name: str, model: Model, processes: int, *flags: str) -> Iterator[Server]:
    """Start a server and wait until it answers; end it, and whatever it leaves behind."""
    port, *spare = ports.free(3)
    command, place = our_command(model.directory, port, processes, *flags), None
    environment = ENVIRONMENT.copy()
    if name == LIMIT:
        command = [sys.executable, str(HERE / "limit.py"), model.name, str(port), str(processes)]
    elif name != OURS:
        place = PEERS / name
        command = [str(python_of(name)), *(part.format(port=port) for part in _PEERS[name].command)]
        environment |= {
            "PYTHONPATH": f"{HERE}:{PEERS}",
            "BENCH_MODEL": model.name,
            "BENCH_PORT": str(port),
            "BENCH_PROCESSES": str(processes),
            "BENCH_SPARE_PORTS": ",".join(map(str, spare)),
        }
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log)
        server = Server(name, model, port, process.pid)
        family: set[tuple[int, str]] = set()
        try:
            _until_it_answers(server, process, log)
            _until_it_rests(server)
            family = descendants(process.pid)
            yield server
        finally:
            _end(process, family | descendants(process.pid))
            _until_free(port)


def _until_it_answers(server: Server, process: subprocess.Popen[bytes], log: IO[str]) -> None:
    request, deadline = server.request(), time.monotonic() + _PATIENCE_SECONDS
    problem = ""
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.answer(request)
        except OSError as error:
            problem = str(error)
            time.sleep(0.1)
        else:
            return
    log.seek(0)
    raise AssertionError(f"{server.name} does not answer ({problem}); its log ends with {log.read()[-1500:]}")


def _until_it_rests(server: Server) -> None:
    """Wait for the rest of its processes: one may answer while another still imports torch, and keeps a CPU awake."""
    deadline, calm = time.monotonic() + _REST_SECONDS, 0
    while calm < 2 and time.monotonic() < deadline:  # twice in a row; some peers never rest
        before = cpu_seconds(server.pids())
        time.sleep(0.5)
        calm = calm + 1 if cpu_seconds(server.pids()) - before < _IDLE_CPUS / 2 else 0


@contextlib.contextmanager
def on_one_cpu(server: Server) -> Iterator[None]:
    """Keep a server, and the clients that are started meanwhile, on one CPU.

    Where they are apart, each of the two wake-ups of a request costs what a virtual machine makes of it: up to 60 µs
    (measured), more than some servers compute.
    """
    allowed = os.sched_getaffinity(0)
    threads = [int(task.name) for pid in server.pids() for task in Path(f"/proc/{pid}/task").glob("*")]
    try:
        for thread in (*threads, 0):
            os.sched_setaffinity(thread, {min(allowed)})
        yield
    finally:
        for thread in (*threads, 0):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, allowed)


def descendants(pid: int) -> set[tuple[int, str]]:
    """Return a process's children and theirs, each with its start time, so that none is taken for another later."""
    found: set[tuple[int, str]] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                for child in map(int, task.read_text().split()):
                    found.add((child, _started(child)))
                    waiting.append(child)
    return found


def _started(pid: int) -> str:
    """Return when a process began, in ticks; nothing when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _end(process: subprocess.Popen[bytes], family: set[tuple[int, str]]) -> None:
    """Ask nicely, then end the server, and the children that it has left behind (some do)."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()
    process.wait()
    for pid, started in family:
        if started and _started(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _until_free(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        assert time.monotonic() < deadline, f"port {port} is still open after its server was ended"
        time.sleep(0.1)
