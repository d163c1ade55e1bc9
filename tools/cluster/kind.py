"""Driver `kind`: the same commands where docker's daemon runs. Untested on a real daemon; only its command lines are.

Images go in by `kind load image-archive` alone; nothing relies on kind's network plugin or a default StorageClass.
The environment may name the node image (KIND_NODE_IMAGE), the cluster (KIND_CLUSTER_NAME), the program (KIND) and the
daemon (DOCKER_HOST).
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cluster import binaries, drivers
from cluster.drivers import Health
from cluster.errors import ClusterError, MissingError
from cluster.progress import step


class Kind:
    """One single-node kind cluster."""

    def __init__(self, directory: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self.kubeconfig = directory / "kubeconfig"
        self.program = environment.get("KIND") or "kind"
        self.cluster = environment.get("KIND_CLUSTER_NAME") or f"modelservice-{directory.name}"
        self.node_image = environment.get("KIND_NODE_IMAGE") or ""

    def check(self) -> None:
        """Want the program and a daemon that answers."""
        if not drivers.docker_and_kind(self._environment):
            raise MissingError(f"{self.program} is not on PATH, or docker's daemon does not answer (`docker info`).")

    def up(self) -> None:
        """Create the cluster."""
        with step(f"creating the kind cluster {self.cluster}"):
            _run(self.create())

    def health(self) -> Health:
        """Ask the cluster's nodes."""
        kubectl = [str(binaries.path("kubectl")), f"--kubeconfig={self.kubeconfig}", "get", "nodes", "--output=wide"]
        asked = subprocess.run(kubectl, capture_output=True, text=True, check=False)
        ok = asked.returncode == 0 and " Ready " in asked.stdout
        return Health(ok, ok, (f"kind cluster {self.cluster}", (asked.stdout or asked.stderr).strip()))

    def load_image(self, archive: Path) -> None:
        """Hand the archive to kind."""
        with step(f"loading {archive.name} into {self.cluster}"):
            _run(self.load(archive))

    def down(self) -> None:
        """Delete the cluster."""
        _run(self.delete())

    def create(self) -> list[str]:
        """Return the command that creates the cluster."""
        image = ["--image", self.node_image] if self.node_image else []
        named = [self.program, "create", "cluster", "--name", self.cluster, *image]
        return [*named, "--kubeconfig", str(self.kubeconfig), "--wait", "180s"]

    def load(self, archive: Path) -> list[str]:
        """Return the command that loads an image."""
        return [self.program, "load", "image-archive", str(archive), "--name", self.cluster]

    def delete(self) -> list[str]:
        """Return the command that deletes the cluster; kind takes it well when there is none."""
        return [self.program, "delete", "cluster", "--name", self.cluster, "--kubeconfig", str(self.kubeconfig)]


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed:\n{ended.stderr[-4000:]}")
