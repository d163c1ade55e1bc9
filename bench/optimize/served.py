"""A model directory of texts behind our server, asked over HTTP in the protocol's binary form."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 32
_PATIENCE_SECONDS = 120


class Served:
    """One running `model-server serve` at `precision: Auto`, and clients for it."""

    def __init__(self, model: Path, *, processes: int) -> None:
        serve = [sys.executable, "-m", "model_server", "serve", str(model), "--processes", str(processes)]
        where = ["--name", "minilm", "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"]
        self._process = subprocess.Popen(
            [*serve, *where, "--request-timeout", f"{_PATIENCE_SECONDS}s"],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._port = 0

    def __enter__(self) -> Self:
        """Wait until it is ready."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"listening on port (\d+)", line):
                self._port = int(found[1])
            if "ready: minilm" in line:
                threading.Thread(target=self._process.stderr.read, daemon=True).start()
                return self
        raise RuntimeError("the server ended before it was ready")

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def pids(self) -> list[int]:
        """Return its processes."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def seconds(self, texts: Sequence[str]) -> float:
        """Return how long it takes to have all vectors: as many requests at once as there are connections."""
        parts = [texts[at::CONNECTIONS] for at in range(CONNECTIONS)]
        start = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            sizes = list(pool.map(self._ask, parts))
        elapsed = time.perf_counter() - start
        assert sizes == [len(part) for part in parts]
        return elapsed

    def _ask(self, texts: Sequence[str]) -> int:
        packed = b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in texts)
        tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)]}
        head = json.dumps(
            {
                "inputs": [{**tensor, "parameters": {"binary_data_size": len(packed)}}],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_SECONDS)
        headers = {"Inference-Header-Content-Length": str(len(head))}
        connection.request("POST", "/v2/models/minilm/infer", head + packed, headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        assert response.status == 200, body
        rows: int = json.loads(body[: int(response.headers["Inference-Header-Content-Length"])])["outputs"][0]["shape"][
            0
        ]
        return rows
