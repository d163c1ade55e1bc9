"""A real Prometheus of our own, and what it scrapes: targets with the labels that a ServiceMonitor gives to them."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml

from cluster import binaries, ports
from panels import series
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from panels import Series

SCRAPE_SECONDS = 5


class Prometheus:
    """Scrapes what it is told to, and evaluates the rules that it is given."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory, self._changing = directory, threading.Lock()
        self._targets: dict[str, dict[str, dict[str, Any]]] = {"own": {}, "honoured": {}}
        self.url = f"http://127.0.0.1:{ports.free(1)[0]}"
        every = {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"}
        jobs = [
            {"job_name": kind, "honor_labels": kind == "honoured", "file_sd_configs": [{"files": [f"{kind}.json"]}]}
            for kind in self._targets
        ]
        config = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": jobs}
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))

    @contextmanager
    def running(self, groups: list[dict[str, Any]]) -> Iterator[None]:
        """Run it with these rules."""
        (self._directory / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        options = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data"]
        command = [
            str(binaries.path("prometheus")),
            *options,
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        log = self._directory / "prometheus.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=self._directory, stdout=output, stderr=output)
        try:
            until(self._is_ready, "Prometheus is ready", details=log.read_text)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def scrape(self, address: str, *, path: str = "/metrics", honour: bool = False, **labels: str) -> None:
        """Scrape an address from now on; `honour` labels that say the same as those of the target."""
        target = {"targets": [address], "labels": {"__metrics_path__": path, **labels}}
        self._change("honoured" if honour else "own", lambda targets: targets.update({address + path: target}))

    def forget(self, address: str) -> None:
        """Scrape an address no more."""
        self._change("own", lambda targets: targets.pop(f"{address}/metrics", None))

    def over(self, query: str, begin: float, end: float, step: int) -> list[Series]:
        """Return what a query gives over a time."""
        return series(self._ask("query_range", {"query": query, "start": begin, "end": end, "step": step}))

    def at(self, query: str, moment: float) -> list[Series]:
        """Return what a query gives at a moment."""
        return series(self._ask("query", {"query": query, "time": moment}))

    def _change(self, kind: str, change: Callable[[dict[str, dict[str, Any]]], object]) -> None:
        with self._changing:
            change(self._targets[kind])
            fresh = self._directory / f"{kind}.new"
            fresh.write_text(json.dumps([*self._targets[kind].values()]))
            fresh.replace(self._directory / f"{kind}.json")

    def _ask(self, what: str, question: Mapping[str, object]) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{urlencode(question)}", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
            return found

    def _is_ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
        return False


@contextmanager
def pages(**texts: Callable[[], str]) -> Iterator[str]:
    """Serve texts by their names; give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = texts[self.path.removeprefix("/")]().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
