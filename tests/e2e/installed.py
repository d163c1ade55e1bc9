"""A cluster with real pods, the operator in it as its chart installs it, a claim for models, and a client.

The cluster is the caller's own, and gone afterwards. With MODELSERVICE_E2E_KUBECONFIG it is one that is there, and
whose loss would be none: both images loaded, `models` claims served. The namespace takes only pods of the level
"restricted".
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster import binaries, drivers
from cluster.errors import MissingError
from demo import stage
from e2e import client as clients
from e2e.client import Client
from e2e.kubectl import Kubectl
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.home import Home
    from e2e.kubectl import Object

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CHART = ROOT / "charts/modelservice-operator"
RELEASE = "modelservice-operator"
REPLICAS = 2  # as the chart has it
SYSTEM = "modelservice-system"
NAMESPACE = "e2e"


@contextmanager
def cluster(home: Home) -> Iterator[Path]:
    """Run a cluster with both images; give its kubeconfig. MissingError: this machine cannot."""
    given = os.environ.get("MODELSERVICE_E2E_KUBECONFIG")
    _tool("cluster", "down", "--name", home.name)  # of a run that was killed
    if given:
        _tool("cluster", "up", "--name", home.name, "--driver=given", KUBECONFIG=given)
    else:
        driver = "kind" if drivers.docker_and_kind(os.environ) else "node"
        _tool("cluster", "up", "--name", home.name, f"--driver={driver}")
    try:
        if not given:
            _tool("images", "build")
            for image in ("operator", "model-server"):
                _tool("cluster", "load-image", str(ROOT / f".images/{image}.tar"), "--name", home.name)
        with tempfile.TemporaryDirectory() as folder:
            ours = Path(folder) / "kubeconfig"
            shutil.copy(home.kubeconfig, ours)
            Kubectl(ours)("config", "set-context", "--current", f"--namespace={NAMESPACE}")
            yield ours
    finally:
        _tool("cluster", "down", "--name", home.name)


def _tool(folder: str, *arguments: str, **environment: str) -> None:
    """Run one of the workshop's tools."""
    command = [sys.executable, str(ROOT / "tools" / folder), *arguments]
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if ended.returncode == MissingError.exit_code:
        raise MissingError(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr


@contextmanager
def namespace(kubeconfig: Path) -> Iterator[Kubectl]:
    """Give kubectl, in a namespace that is gone afterwards."""
    kubectl = Kubectl(kubeconfig)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}})
    until(lambda: kubectl.items("serviceaccounts"), "the namespace is usable")
    yield kubectl
    kubectl("delete", "namespace", NAMESPACE)


@dataclass(frozen=True)
class Operator:
    """The operator as its chart installs it."""

    kubectl: Kubectl
    kubeconfig: Path
    signer: Path
    """The private key of the one who may sign models."""

    def install(self) -> None:
        """Install it, and wait until it runs."""
        trusted = f"--set-file=trustedKeys.team-a={self.signer.with_suffix('.pub')}"
        self._helm("upgrade", "--install", RELEASE, CHART, "--create-namespace", trusted)
        self.until_ready()

    def uninstall(self) -> None:
        """Uninstall it, and wait until its pods are gone."""
        self._helm("uninstall", RELEASE, "--wait")
        until(lambda: not self.pods(), "the operator is gone")

    def stop(self) -> None:
        """Scale it to nothing, and wait until its pods are gone."""
        self._scale(0)
        until(lambda: not self.pods(), "the operator is gone")

    def start(self) -> None:
        """Scale it up again, and wait until it is ready."""
        self._scale(REPLICAS)
        self.until_ready()

    def until_ready(self) -> Object:
        """Wait until its pods are ready and one of them leads; return that one."""

        def ready() -> Object:
            pods = self.pods()
            assert len(pods) == REPLICAS, f"{len(pods)} pods"
            for pod in pods:
                status = pod["status"]
                if any(container["restartCount"] for container in status.get("containerStatuses", ())):
                    pytest.fail(f"The operator does not stay up:\n{self._log('--previous')}")
                conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
                assert conditions.get("Ready") == "True", conditions
            leases = self.kubectl.items("leases", f"--namespace={SYSTEM}")
            holders = {lease["spec"].get("holderIdentity", "").rpartition("_")[0] for lease in leases}
            leaders = [pod for pod in pods if pod["metadata"]["name"] in holders]
            assert leaders, f"the lease is held by {holders}"
            return leaders[0]

        return until(ready, "the operator is ready", patience=180, details=self._log)

    def pods(self) -> list[Object]:
        """Return its pods, also those on their way out."""
        return self.kubectl.items("pods", f"--namespace={SYSTEM}")

    def monitor(self, label: str) -> str:
        """Return what its chart has for a Prometheus that wants a label, `NAME=VALUE`, on what it takes up."""
        wanted = ("--set=selfMonitoring.serviceMonitor.enabled=true", f"--set=monitoring.labels.{label}")
        return self._helm("template", RELEASE, CHART, "--show-only=templates/monitoring.yaml", *wanted)

    def _log(self, *options: str) -> str:
        return self.kubectl("logs", f"deployment/{RELEASE}", f"--namespace={SYSTEM}", *options)

    def _scale(self, replicas: int) -> None:
        self.kubectl("scale", "deployment", RELEASE, f"--namespace={SYSTEM}", f"--replicas={replicas}")

    def _helm(self, *arguments: str | Path) -> str:
        place = ["--kubeconfig", str(self.kubeconfig), "--namespace", SYSTEM]
        ended = subprocess.run([binaries.path("helm"), *arguments, *place], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


def key_pair(private: Path) -> Path:
    """Make a key that models are signed with, and the public one beside it."""
    how = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "genpkey", *how, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", private.with_suffix(".pub")], check=True)
    return private


@contextmanager
def operator(kubectl: Kubectl, kubeconfig: Path) -> Iterator[Operator]:
    """Run the operator, ready."""
    operator = Operator(kubectl, kubeconfig, key_pair(kubeconfig.parent / "team-a.pem"))
    operator.install()
    yield operator
    operator.uninstall()
    kubectl("delete", "crd", "modelservices.modelservice.dev")


def claim(kubectl: Kubectl, home: Home) -> str:
    """Make the claim of the examples, with room."""
    if home.driver_name == "node":  # nobody provides volumes there
        folder = home.directory / "volumes/models"
        stage.make_room(folder)
        volume = stage.volume("models", folder)
        volume["spec"]["claimRef"]["namespace"] = NAMESPACE
        kubectl.apply(volume)
    kubectl("apply", f"--filename={EXAMPLES / 'models-claim.yaml'}")
    return "models"


def client(kubectl: Kubectl, claim: str) -> Client:
    """Run a pod that asks, and that may write to the claim."""
    # Process 1 must ask for its own end: without a handler it would ignore the signal.
    program = ["python3", "-c", "import signal; signal.sigwait({signal.SIGTERM})"]
    kubectl.apply(clients.pod(clients.NAME, program, {"models": {"persistentVolumeClaim": {"claimName": claim}}}))
    kubectl("wait", "--for=condition=Ready", f"pod/{clients.NAME}", "--timeout=180s")
    return Client(kubectl)
