"""The operator as a process of its own, with exactly the rights that the chart gives it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from cluster import binaries
from cluster.access import Access
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NAMESPACE = "modelservice-system"
ACCOUNT = "modelservice-operator"
_CHART = "charts/modelservice-operator"


class Process(Protocol):
    """What is asked of the process, wherever it comes from."""

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""

    def wait(self, timeout: float) -> int:
        """Wait for its end, and return the exit status."""


class OperatorProcess:
    """Starts, ends and kills one operator; `writes` counts what it has asked the API server to change."""

    def __init__(
        self,
        kubectl: Callable[..., str],
        admin: Path,
        directory: Path,
        port: int,
        *,
        program: Sequence[str] = (sys.executable, "-m", "modelservice_operator.cli"),
        elects: bool = False,
        installation: str = "default",
        namespaces: Sequence[str] = (),
        is_installed: bool = False,
    ) -> None:
        """`is_installed`: a release of the chart made the account and its rights; else they are made here."""
        self._elects, self._installation, self._namespaces = elects, installation, namespaces
        self._release = ACCOUNT if installation == "default" else f"{ACCOUNT}-{installation}"
        self._kubectl, self._directory, self._port, self._program = kubectl, directory, port, program
        self._process: Process | None = None
        self.config = directory / "config.yaml"
        self.log = directory / "operator.log"
        self.configure()
        if not is_installed:
            self._install_account()
        self.kubeconfig = self._login(admin)

    def configure(self, **accelerators: dict[str, object]) -> None:
        """Write the operator's configuration; it is read when the operator starts."""
        settings: dict[str, object] = {"images": {"server": "localhost/server:dev"}, "installation": self._installation}
        if self._namespaces:  # the version before knows no such key
            settings["watch"] = {"namespaces": self._namespaces}
        self.config.write_text(json.dumps(settings | {"accelerators": accelerators}))

    def set(self, **settings: object) -> None:
        """Change some of the configuration."""
        self.config.write_text(json.dumps(json.loads(self.config.read_text()) | settings))

    def start(self, *arguments: str) -> None:
        """Start the operator and wait until it is ready."""
        self.launch(*arguments)
        until(self.is_ready, "the operator is ready", details=self.log.read_text)

    def launch(self, *arguments: str) -> None:
        """Start the operator."""
        command = ["run", f"--config={self.config}", *arguments, f"--listen=127.0.0.1:{self._port}"]
        if self._elects:
            command += ["--leader-elect=true", f"--lease-namespace={NAMESPACE}"]
        self._process = self._begin(command)

    def _begin(self, arguments: Sequence[str]) -> Process:
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
        with self.log.open("ab") as log:
            return subprocess.Popen([*self._program, *arguments], env=environment, stdout=log, stderr=log)

    def stop(self) -> int:
        """Ask the operator to end, and return its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the operator as a lost node does."""
        self._end(signal.SIGKILL)

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Where it serves its pages."""
        return f"http://127.0.0.1:{self._port}"

    def is_ready(self) -> bool:
        """Tell whether /readyz says so."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self._page("readyz")[0] == 200
        except OSError:
            return False

    def has_ended(self) -> bool:
        """Tell whether the process has ended, although nobody asked it to."""
        return self._process is not None and self._process.poll() is not None

    def writes(self) -> int:
        """Return how many requests that may change something this process has sent, but for those about its lease."""
        total = 0.0
        for line in self.metrics().splitlines():
            if line.startswith("modelservice_operator_api_requests_total{") and 'resource="leases"' not in line:
                verb = line.split('verb="')[1].split('"')[0]
                total += 0 if verb in {"get", "list", "watch", "discover"} else float(line.rsplit(" ", 1)[1])
        return int(total)

    def is_idle(self) -> bool:
        """Tell whether everything was looked at, and nothing waits or is being looked at."""
        page = self.metrics()
        busy = re.findall(
            r"^modelservice_operator_(?:queue_depth|longest_reconcile_seconds) (\S+)$", page, re.MULTILINE
        )
        looked = re.search(r"^modelservice_operator_reconcile_seconds_count (\S+)$", page, re.MULTILINE)
        return looked is not None and float(looked[1]) > 0 and not any(map(float, busy))

    def metric(self, name: str) -> float:
        """Return a metric of the operator's own that has no labels."""
        found = re.search(rf"^modelservice_operator_{name} (\S+)$", self.metrics(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def metrics(self) -> str:
        """Return all metrics."""
        return self._page("metrics")[1]

    def ask_doctor(self, *options: str, kubeconfig: Path | None = None) -> tuple[int, str]:
        """Return the status of doctor and what it prints; the account is the operator's own, as in its pod."""
        told = [f"--config={self.config}", f"--operator={self.url}", f"--lease-namespace={NAMESPACE}"]
        done = subprocess.run(
            [*self._program, "doctor", *told, *options],
            env=os.environ | {"KUBECONFIG": str(kubeconfig or self.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.returncode, done.stdout

    def _page(self, path: str) -> tuple[int, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(how)
        return process.wait(timeout=30)

    def _install_account(self) -> None:
        """Create the chart's account and rights."""
        helm = [str(binaries.path("helm")), "template", self._release, _CHART, f"--namespace={NAMESPACE}"]
        shown = [f"--show-only=templates/{name}.yaml" for name in ("serviceaccount", "rbac")]
        shown.append(f"--set=installation={self._installation}")
        shown.append(f"--set-json=watch.namespaces={json.dumps(self._namespaces)}")
        manifests = subprocess.run([*helm, *shown], check=True, capture_output=True, text=True).stdout
        self._kubectl(
            "apply",
            "-f",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        )
        self._kubectl("apply", "-f", "-", stdin=manifests)

    def _login(self, admin: Path) -> Path:
        """Return a kubeconfig of the account."""
        token = self._kubectl("create", "token", self._release, f"--namespace={NAMESPACE}", "--duration=6h").strip()
        path = self._directory / "operator.kubeconfig"
        replace(Access.read(admin), token=token).write(path)
        return path
