"""The real KEDA, its operator and its metrics server, and a real Prometheus that it asks, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Final

from cluster import binaries, ports
from cluster.definitions import definition
from cluster.pki import Authority
from controlplane import metrics_api, pages
from controlplane.conftest import until_served
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_NAMESPACE: Final = "keda"


class Prometheus:
    """It scrapes one page every second, whose text the test says; and it can be ended and started again."""

    def __init__(self, directory: Path) -> None:
        self.page = ""
        self._directory = directory
        self._port = ports.free(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Prometheus]:
        """Serve the page and scrape it while the block runs."""
        with pages.served(lambda: self.page) as port:
            targets = [{"targets": [f"127.0.0.1:{port}"]}]
            job = {"job_name": "models", "honor_labels": True, "static_configs": targets}
            config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
            (self._directory / "prometheus.yaml").write_text(json.dumps(config))
            try:
                self.start()
                yield self
            finally:
                self.stop()

    def start(self) -> None:
        """Start it, on what it knew before."""
        command = [
            str(binaries.path("prometheus")),
            f"--config.file={self._directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        self._process = _spawn(command, self._directory / "prometheus.log", {})
        until(self._is_ready, "Prometheus is ready")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:  # noqa: S310 (http)
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def running(kubectl: Callable[..., str], kubeconfig: Path, directory: Path) -> Iterator[None]:
    """Run KEDA while the block runs."""
    kubectl("apply", "--server-side", f"--filename={definition('scaledobjects', 'keda.sh').parent}")
    until_served(kubectl)
    kubectl("create", "namespace", _NAMESPACE)
    authority = Authority.create(directory)
    authority.issue("tls", "/CN=keda", ["localhost", "127.0.0.1"])
    grpc, metrics, health, secure, port = ports.free(5)
    environment = {
        "KUBECONFIG": str(kubeconfig),
        "KEDA_CLUSTER_OBJECT_NAMESPACE": _NAMESPACE,
        "POD_NAMESPACE": _NAMESPACE,
        "WATCH_NAMESPACE": "",
    }
    operator = [
        str(binaries.path("keda")),
        f"--cert-dir={directory}",
        f"--metrics-service-bind-address=127.0.0.1:{grpc}",
        f"--metrics-bind-address=127.0.0.1:{metrics}",
        f"--health-probe-bind-address=127.0.0.1:{health}",
    ]
    adapter = [
        str(binaries.path("keda-adapter")),
        f"--secure-port={secure}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--metrics-service-address=127.0.0.1:{grpc}",
        f"--cert-dir={directory}",
        f"--tls-cert-file={directory / 'tls.crt'}",
        f"--tls-private-key-file={directory / 'tls.key'}",
        *(f"--{what}-kubeconfig={kubeconfig}" for what in ("authentication", "authorization", "lister")),
    ]
    processes = []
    try:
        for name, command in [("operator", operator), ("adapter", adapter)]:
            processes.append(_spawn(command, directory / f"{name}.log", environment))
        metrics_api.register(kubectl, metrics_api.EXTERNAL, secure)
        yield
    finally:
        for process in processes:
            _end(process)


def _spawn(command: Sequence[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=60)
