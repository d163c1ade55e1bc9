"""A real server process on loopback, and small clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60  # importing torch takes long on a busy machine
BOTH_WAYS = ("fast", "asgi")  # through the server's own connection class, and through ASGI: clients see no difference


def model_directory(path: Path, architecture: str, parameters: dict[str, Any], inputs: Any, outputs: Any) -> Path:  # noqa: ANN401
    """Write a model directory without weights."""
    path.mkdir(parents=True, exist_ok=True)
    card = {"format": "safetensors", "architecture": architecture, "parameters": parameters}
    (path / "model.json").write_text(json.dumps({**card, "inputs": inputs, "outputs": outputs}))
    save_file({}, path / "weights.safetensors")
    return path


def echo_directory(path: Path, **parameters: float) -> Path:
    """Write a model that echoes one FP32 column."""
    (tensor,) = ({"name": "x", "datatype": "FP32", "shape": [-1, 1]},)
    return model_directory(path, "echo", parameters, [tensor], [{**tensor, "name": "y"}])


def mlp_directory(path: Path, *layers: int) -> Path:
    """Write an mlp with random weights."""
    path.mkdir(parents=True, exist_ok=True)
    tensors = [
        {"name": name, "datatype": "FP32", "shape": [-1, size]} for name, size in (("x", layers[0]), ("y", layers[-1]))
    ]
    card = {"format": "safetensors", "architecture": "mlp", "parameters": {"layers": layers}}
    (path / "model.json").write_text(json.dumps({**card, "inputs": tensors[:1], "outputs": tensors[1:]}))
    random = np.random.default_rng(0)
    weights = {}
    for index, (size_in, size_out) in enumerate(pairwise(layers)):
        weights[f"{2 * index}.weight"] = random.standard_normal((size_out, size_in)).astype("<f4")
        weights[f"{2 * index}.bias"] = random.standard_normal(size_out).astype("<f4")
    save_file(weights, path / "weights.safetensors")
    return path


@dataclass
class Server:
    """One running `model-server serve`."""

    process: subprocess.Popen[str]
    report: Path
    port: int = 0
    metrics_port: int = 0
    tls: ssl.SSLContext | None = None  # what clients trust, where the serving port speaks TLS
    log: list[str] = field(default_factory=list)
    _lines: queue.Queue[str | None] = field(default_factory=queue.Queue)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line of the log."""
        while True:
            line = self._lines.get(timeout=PATIENCE_SECONDS)
            assert line is not None, f"the server ended with {self.process.wait()}:\n{''.join(self.log)}"
            if found := re.search(pattern, line):
                return found

    def learn_ports(self) -> None:
        """Wait until it listens."""
        ports = self.wait_for(r"listening on port (\d+) \(requests\) and (\d+)")
        self.port, self.metrics_port = int(ports[1]), int(ports[2])

    def is_ready(self) -> bool:
        """Ask as the kubelet does."""
        with contextlib.suppress(OSError):
            return self.get("/v2/health/ready", port=self.metrics_port).status == 200
        return False

    def children(self) -> list[int]:
        """Return its processes, the one for probes and scrapes first."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def read_log(self) -> None:
        """Pass the log's lines on as they come, so that the pipe never fills."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the end."""
        return self.process.wait(PATIENCE_SECONDS)

    def get(self, path: str, *, port: int | None = None, **options: Any) -> Answer:  # noqa: ANN401
        """Ask once, on a connection of its own."""
        return ask(port or self.port, "GET", path, **{"tls": None if port else self.tls, **options})

    async def connect(self) -> Connection:
        """Connect to the serving port, over TLS where it speaks that."""
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls))

    def post(self, path: str, body: bytes, **options: Any) -> Answer:  # noqa: ANN401
        """Send once, on a connection of its own."""
        return ask(self.port, "POST", path, body=body, **{"tls": self.tls, **options})

    def samples(self) -> dict[str, float]:
        """Read the metrics: `name{labels without the model}` to value."""
        found = {}
        for line in self.get("/metrics", port=self.metrics_port).body.decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[re.sub(r'\{model="[^"]*",?', "{", name).removesuffix("{}").removeprefix("model_server_")] = float(
                    value
                )
        return found


@dataclass(frozen=True)
class Answer:
    """An answer, read in full."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The body, which must be JSON."""
        return json.loads(self.body)


def ask(
    port: int,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Make one request."""
    kind = partial(HTTPSConnection, context=tls) if tls else HTTPConnection
    with contextlib.closing(kind("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


@contextlib.contextmanager
def started(directory: Path, *arguments: str, impatient: bool = False) -> Iterator[Server]:
    """Start a server (also of echo models) without waiting for it to be ready; end it in any case."""
    report = directory.parent / f"{directory.name}.report"
    command = [sys.executable, "-W", "error", str(HERE / "echo_server.py"), *(["--impatient"] if impatient else [])]
    process = subprocess.Popen(
        [
            *command,
            "serve",
            str(directory),
            "--processes",
            "1",
            "--name",
            "m",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--metrics-port",
            "0",
            "--report",
            str(report),
            *arguments,
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": ""},
    )
    server = Server(process, report)
    reader = threading.Thread(target=server.read_log)
    reader.start()
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


@contextlib.contextmanager
def running(directory: Path, *arguments: str, impatient: bool = False) -> Iterator[Server]:
    """Start a server and wait until it is ready."""
    with started(directory, "--drain-delay", "0s", *arguments, impatient=impatient) as server:
        server.learn_ports()
        server.wait_for("ready: m ")
        yield server


def column(*values: float, **more: object) -> bytes:
    """Ask for one column of FP32."""
    tensor = {"name": "x", "shape": [len(values), 1], "datatype": "FP32", "data": values}
    return json.dumps({"inputs": [tensor], **more}).encode()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that only looking can tell."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # it happens in another process
            await asyncio.sleep(0.01)


class Connection:
    """An HTTP/1.1 connection without retries, so that nothing lost is hidden."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, body: bytes, path: str = "/v2/models/m/infer", head: str = "") -> None:
        """Write one POST request."""
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body
        )

    def send_raw(self, data: bytes) -> None:
        """Write anything."""
        self._writer.write(data)

    @property
    def own_port(self) -> int:
        """The port of this end."""
        return int(self._writer.get_extra_info("sockname")[1])

    async def receive(self) -> Answer:
        """Read one answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        return Answer(int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"])))

    async def ask(self, body: bytes) -> Answer:
        """Make one request."""
        self.send(body)
        return await self.receive()

    async def at_eof(self) -> bool:
        """Wait for the server to close, and say whether it sent nothing before."""
        return await self._reader.read() == b""

    async def close(self) -> None:
        """Leave."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
