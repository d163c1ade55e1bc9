"""One measurement's surroundings: a fresh etcd and API server, N ModelServices, the operator as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster import ports
from cluster.access import Access
from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd, kubectl_of
from controlplane.operator_process import OperatorProcess
from faults.admin import Admin, model_service, services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMESPACE = "bench"
CHILDREN = ("controllerrevisions", "deployments", "services/specs")  # as etcd's keys name them
_SERVICES_KEY = "/registry/modelservice.dev/modelservices/"
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_SECONDS = 600
_PYTHON = [sys.executable, "-m", "modelservice_operator.cli"]
_READS = {"get", "list", "watch", "discover"}


def spec(number: int) -> dict[str, object]:
    """Return the spec of a service: a small one, as most are."""
    return {
        "model": {"uri": f"pvc://models/{number:05}", "digest": "sha256:" + "a" * 64},
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        "replicas": 1,
    }


def name(number: int) -> str:
    """Return the name of a service."""
    return f"m-{number:05}"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@dataclass
class Lab:
    """A control plane with N ModelServices that nobody has looked at yet."""

    plane: ControlPlane
    admin: Admin
    account: OperatorProcess  # for its account and configuration; the benchmark starts the process itself
    kubeconfig: Path
    directory: Path
    size: int

    @property
    def api_pid(self) -> int:
        """The API server's process."""
        return self.plane._running["kube-apiserver"].pid

    def revision(self) -> int:
        """Return etcd's revision: it grows by one with each write."""
        return int(self._etcd("maintenance/status", {})["header"]["revision"])

    def with_status(self, since: int) -> int:
        """Return how many ModelServices were written since a revision; only their status ever is."""
        question = self._prefix(_SERVICES_KEY) | {"min_mod_revision": str(since + 1), "keys_only": True}
        return len(self._etcd("kv/range", question).get("kvs", ()))

    def children(self) -> int:
        """Return how many children are stored."""
        prefixes = [f"/registry/{kind}/{NAMESPACE}/" for kind in CHILDREN]
        answers = [self._etcd("kv/range", self._prefix(prefix) | {"count_only": True}) for prefix in prefixes]
        return sum(int(answer.get("count", 0)) for answer in answers)

    async def until_stored(self, since: int, children: int) -> float:
        """Return the moment at which every child and the first status of every service are stored."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            if self.revision() - since >= self.size * (children + 1) and self.with_status(since) == self.size:
                now = time.perf_counter()
                if self.children() == self.size * children:
                    return now
            await asyncio.sleep(0.02)
        raise AssertionError(f"{self.children()} children and {self.with_status(since)} status are stored, no more")

    def _etcd(self, path: str, question: dict[str, object]) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.plane.etcd_url}/v3/{path}", json.dumps(question).encode())  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (loopback)
            found: dict[str, Any] = json.load(answer)
            return found

    def _prefix(self, prefix: str) -> dict[str, object]:
        encoded = (base64.b64encode(text.encode()).decode() for text in (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)))
        return dict(zip(("key", "range_end"), encoded, strict=True))


@asynccontextmanager
async def lab(size: int, *, controllers: bool = False, server: str = "") -> AsyncIterator[Lab]:
    """Bring up a fresh one. `server` is a proxy that the operator is to go through."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        with ControlPlane(directory / "cluster", controllers=controllers) as plane:
            install_crd(plane)
            access = directory / "access.kubeconfig"
            replace(Access.read(plane.kubeconfig), url=server or plane.url).write(access)
            account = OperatorProcess(kubectl_of(plane), access, directory, ports.free(1)[0])
            async with Admin.of(plane) as admin:
                await admin.namespaces([NAMESPACE])
                await asyncio.gather(
                    *(admin.create(services(NAMESPACE), model_service(name(n), spec(n))) for n in range(size))
                )
                yield Lab(plane, admin, account, directory / "operator.kubeconfig", directory, size)


class Operator:
    """The operator's process, from outside."""

    def __init__(self, lab: Lab, *, kubeconfig: Path | None = None) -> None:
        self._port = ports.free(1)[0]
        self.spawned = time.perf_counter()
        command = [*_PYTHON, "run", f"--config={lab.account.config}", f"--listen=127.0.0.1:{self._port}"]
        environment = os.environ | {"KUBECONFIG": str(kubeconfig or lab.kubeconfig)}
        self._log = lab.account.log.open("ab")
        self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)
        self.pid = self._process.pid

    async def until_alive(self) -> float:
        """Return the moment at which the process has started: from now on it talks to the API server."""
        while True:
            assert self._process.poll() is None, "the operator has ended"
            try:
                self._page("healthz")
            except OSError:
                await asyncio.sleep(0.01)
            else:
                return time.perf_counter()

    async def until_quiet(self, looked_at: int = 0) -> float:
        """Return the moment at which nothing waited any more, and stayed so for a second and a half."""
        before, since = (-1, -1.0), 0.0
        while True:
            page = self._page("metrics")
            busy = re.findall(r"^modelservice_operator_(?:queue_depth|longest_reconcile_seconds) (\S+)$", page, re.M)
            looked = re.search(r"^modelservice_operator_reconcile_seconds_count (\S+)$", page, re.M)
            count = float(looked[1]) if looked else 0.0
            now = (sum(self.requests(page).values()), count)
            idle = not any(map(float, busy)) and count >= looked_at
            if not idle or now != before:
                before, since = now, time.perf_counter()
            elif time.perf_counter() - since > 1.5:  # noqa: PLR2004 (as in the first line)
                return since
            await asyncio.sleep(0.1)

    def requests(self, page: str = "") -> Counter[str]:
        """Return how many requests it has sent, by verb and resource; watches, lists and leases not counted."""
        found: Counter[str] = Counter()
        for line in (page or self._page("metrics")).splitlines():
            match = re.match(r'modelservice_operator_api_requests_total{code="(.*?)",resource="(.*?)",verb="(.*?)"} (\S+)', line)
            if match and match[2] != "leases" and match[3] not in {"list", "watch", "discover"}:
                found[f"{match[3]} {match[2]}"] += int(float(match[4]))
        return found

    def writes(self) -> int:
        """Return how many requests that change something it has sent."""
        return sum(count for what, count in self.requests().items() if what.split()[0] not in _READS)

    def stop(self) -> None:
        """End it as its node would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=60)
        self._log.close()

    def _page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=30) as answer:
            return str(answer.read().decode())
