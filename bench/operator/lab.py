"""Where measurements are made: etcd and an API server that are put back to the same state before each of them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
import time
import urllib.request
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster import ports
from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd, kubectl_of
from controlplane.operator_process import OperatorProcess
from faults.admin import Admin, model_service, services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NAMESPACE = "bench"
# Of each service: a line of the ledger, a Deployment, the Service and that of the metrics, a budget, a network policy.
CHILDREN = 6

_CHILDREN_KEYS = tuple(
    f"/registry/{kind}/{NAMESPACE}/"
    for kind in ("controllerrevisions", "deployments", "services/specs", "poddisruptionbudgets", "networkpolicies")
)
_SERVICES_KEYS = f"/registry/modelservice.dev/modelservices/{NAMESPACE}/"
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_SECONDS = 600.0
_SETTLING_SECONDS = 20.0  # controllers keep an API server busy for ever
_CPUS = frozenset(os.sched_getaffinity(0))
_IDLE_SHARE = 0.1  # of one core: an API server that has just started is busy for some seconds more


def name(number: int) -> str:
    """Return the name of a service."""
    return f"m-{number:05}"


def spec(number: int) -> dict[str, object]:
    """Return the spec of a service: a small one, as most are."""
    return {
        "model": {"uri": f"pvc://models/{number:05}", "digest": "sha256:" + "a" * 64},
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        "replicas": 1,
    }


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def on(cpus: frozenset[int]) -> Iterator[None]:
    """Keep this thread, and what is started meanwhile, on some CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Lab:
    """A control plane, and the states that it can be put back to: so many services, which nobody has looked at yet."""

    plane: ControlPlane
    account: OperatorProcess  # for its rights and configuration; the process that is measured is another
    directory: Path
    size: int = 0
    apart: bool = False
    """Whether the control plane has all CPUs but one, and who writes has that one."""
    _states: dict[int, Path] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """Who the operator and the bare client are."""
        return self.directory / "operator.kubeconfig"

    @property
    def api_pid(self) -> int:
        """The API server's process."""
        return self.plane.pid("kube-apiserver")

    @property
    def writers_cpus(self) -> frozenset[int]:
        """Where the operator and the bare client run."""
        return frozenset({max(_CPUS)}) if self.apart else _CPUS

    @property
    def _servers_cpus(self) -> frozenset[int]:
        return (_CPUS - self.writers_cpus) or _CPUS  # none is left where all are shared, or where there is only one

    async def grow(self, size: int) -> None:
        """Create services up to a number, and keep the state that this is."""
        async with Admin.of(self.plane) as admin:
            if not self._states:
                await admin.namespaces([NAMESPACE])
            some = (model_service(name(number), spec(number)) for number in range(self.size, size))
            await asyncio.gather(*(admin.create(services(NAMESPACE), each) for each in some))
        self.size = size
        self.plane.stop()
        self._states[size] = self.directory / f"etcd-{size}"
        shutil.copytree(self.plane.etcd_data, self._states[size])
        self.plane.start_again()

    async def fresh(self, size: int) -> None:
        """Put the control plane back to the state with so many services, and wait until it has come to rest."""
        self.plane.stop()
        shutil.rmtree(self.plane.etcd_data)
        shutil.copytree(self._states[size], self.plane.etcd_data)
        self.size = size
        with on(self._servers_cpus):
            self.plane.start_again()
        # Who is the first to ask for a kind of a definition waits until the server has made what serves it.
        async with Admin.of(self.plane) as admin:
            await admin.get(f"{services(NAMESPACE)}?limit=1")
        await self.settled()

    async def settled(self) -> None:
        """Wait until the API server has nothing of its own to do any more."""
        end, used, calm = time.monotonic() + _SETTLING_SECONDS, cpu_seconds(self.api_pid), 0
        while calm < 2 and time.monotonic() < end:  # twice in a row
            await asyncio.sleep(0.5)
            before, used = used, cpu_seconds(self.api_pid)
            calm = calm + 1 if used - before < _IDLE_SHARE / 2 else 0

    def revision(self) -> int:
        """Return etcd's revision: it grows by one with each write."""
        return int(self._etcd("maintenance/status", {})["header"]["revision"])

    def looked_at(self, since: int) -> int:
        """Return how many ModelServices were written since a revision; only their status ever is."""
        question = _prefix(_SERVICES_KEYS) | {"min_mod_revision": str(since + 1), "keys_only": True}
        return len(self._etcd("kv/range", question).get("kvs", ()))

    def children(self) -> int:
        """Return how many children are stored."""
        answers = [self._etcd("kv/range", _prefix(keys) | {"count_only": True}) for keys in _CHILDREN_KEYS]
        return sum(int(answer.get("count", 0)) for answer in answers)

    async def until_stored(self, since: int, revisions: int = 0) -> float:
        """Return the moment at which every child and the first status of every service are stored.

        Counting is left until about so many `revisions` have gone by: it costs etcd more than telling the revision.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            if self.revision() - since < revisions:
                await asyncio.sleep(0.05)
                continue
            now = time.perf_counter()
            if self.children() == self.size * CHILDREN and self.looked_at(since) == self.size:
                return now
            await asyncio.sleep(0.01 if revisions else 0.2)
        raise AssertionError(f"{self.children()} children and {self.looked_at(since)} status are stored, no more")

    def _etcd(self, path: str, question: dict[str, object]) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.plane.etcd_url}/v3/{path}", json.dumps(question).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@asynccontextmanager
async def lab(*, controllers: bool = False) -> AsyncIterator[Lab]:
    """Bring up a control plane with the operator's account and no services yet."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        with ControlPlane(directory / "cluster", controllers=controllers) as plane:
            install_crd(plane)
            account = OperatorProcess(kubectl_of(plane), plane.kubeconfig, directory, ports.free(1)[0])
            yield Lab(plane, account, directory)


def _prefix(prefix: str) -> dict[str, object]:
    encoded = (base64.b64encode(text.encode()).decode() for text in (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)))
    return dict(zip(("key", "range_end"), encoded, strict=True))
