"""What is measured: the operator's process, seen from outside."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from cluster import ports
from lab import on

if TYPE_CHECKING:
    from lab import Lab

_PROGRAM = [sys.executable, "-m", "modelservice_operator.cli"]
_READS = {"get", "list", "watch", "discover"}
_QUIET_SECONDS = 1.5
_BUSY = re.compile(r"^modelservice_operator_(?:queue_depth|longest_reconcile_seconds) (\S+)$", re.MULTILINE)
_LOOKS = re.compile(r"^modelservice_operator_reconcile_seconds_count (\S+)$", re.MULTILINE)
_REQUESTS = re.compile(
    r'^modelservice_operator_api_requests_total{code=".*?",resource="(.*?)",verb="(.*?)"} (\S+)$', re.MULTILINE
)


class Operator:
    """The operator as its own process, with the account's rights."""

    def __init__(self, lab: Lab, *, kubeconfig: Path | None = None) -> None:
        self._port = ports.free(1)[0]
        command = [*_PROGRAM, "run", f"--config={lab.account.config}", f"--listen=127.0.0.1:{self._port}"]
        environment = os.environ | {"KUBECONFIG": str(kubeconfig or lab.kubeconfig)}
        self.spawned = time.perf_counter()
        with lab.account.log.open("ab") as log, on(lab.writers_cpus):
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.pid = self._process.pid

    async def until_alive(self) -> float:
        """Return the moment at which the program is loaded; from now on it talks to the API server."""
        while not self._page("healthz"):
            await asyncio.sleep(0.01)
        return time.perf_counter()

    async def until_quiet(self, looks: int) -> float:
        """Return the moment since which nothing has waited, been looked at or sent; so often it must have looked."""
        before, since = None, 0.0
        while True:
            page = self._page("metrics")
            found = sum(map(float, _LOOKS.findall(page)))
            now = (found, self.requests(page))
            if now != before or found < looks or any(map(float, _BUSY.findall(page))):
                before, since = now, time.perf_counter()
            elif time.perf_counter() - since > _QUIET_SECONDS:
                return since
            await asyncio.sleep(0.1)

    def requests(self, page: str = "") -> Counter[str]:
        """Return how many requests it has sent, by verb and resource; what it must read and hear anyway not counted."""
        found: Counter[str] = Counter()
        for resource, verb, count in _REQUESTS.findall(page or self._page("metrics")):
            if verb not in {"list", "watch", "discover"}:
                found[f"{verb} {resource}"] += int(float(count))
        return found

    def writes(self) -> int:
        """Return how many requests that change something it has sent."""
        return sum(count for what, count in self.requests().items() if what.split()[0] not in _READS)

    def most_memory_mb(self) -> float:
        """Return the largest resident memory that it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def stop(self) -> None:
        """End it as its node would."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)

    def _page(self, path: str) -> str:
        """Return a page; nothing while it does not listen yet."""
        assert self._process.poll() is None, "the operator has ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""
