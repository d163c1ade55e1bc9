"""Driver `kind`: a single-node kind cluster, on the user's docker daemon or on one of our own.

On the user's daemon kind takes its usual node image. On ours, which nothing outside can reach, it takes the one that
`kind_image` makes. Images go in by `kind load image-archive` alone; nothing relies on kind's network plugin or on a
default storage class. The environment may name the node image (KIND_NODE_IMAGE), the cluster (KIND_CLUSTER_NAME), the
program (KIND) and the daemon (DOCKER_HOST).
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster import binaries, docker, kind_image, ports, processes
from cluster.docker import Daemon
from cluster.drivers import Health
from cluster.errors import ClusterError
from cluster.pins import FOR_KIND
from cluster.progress import say, step

NODE_PORT = 30080  # of the one Service that is reached from outside


class Kind:
    """One single-node kind cluster."""

    def __init__(self, directory: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._daemon = Daemon(directory)
        self._config = directory / "kind.json"
        # kind makes a network where none is of that name, and never removes it.
        self._network = environment.get("KIND_EXPERIMENTAL_DOCKER_NETWORK") or "kind"
        self._made_network = directory / "made-network"
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.cluster = environment.get("KIND_CLUSTER_NAME") or f"modelservice-{directory.name}"

    def check(self) -> None:
        """Want a daemon that answers, or all that one of our own needs."""
        if docker.version(self._environment) is None:
            self._daemon.check()

    def up(self) -> None:
        """Create the cluster."""
        binaries.paths(FOR_KIND)
        image = self._environment.get("KIND_NODE_IMAGE") or ""
        if docker.version(self._environment) is None:
            archive = kind_image.archive()
            self._daemon.up()
            self._daemon.load(archive)
            image = kind_image.name()
            address = self._daemon.network().node
            # kind looks for a free port where none is named, and would look on the host.
            networking = {"apiServerAddress": address, "apiServerPort": 6443}
            port = 8080
        else:
            address, networking = "127.0.0.1", {}
            (port,) = ports.free(1)
            if self._docker("network", "inspect", self._network).returncode:
                self._made_network.touch()
        volumes = self.directory / "volumes"
        volumes.mkdir()
        self._config.write_text(json.dumps(config(address, port, volumes, networking), indent=2) + "\n")
        with step(f"creating the kind cluster {self.cluster}"):
            self._kind(*self.create(image))

    def health(self) -> Health:
        """Ask the cluster's nodes."""
        kubectl = [str(binaries.path("kubectl")), f"--kubeconfig={self.kubeconfig}", "get", "nodes", "--output=wide"]
        asked = subprocess.run(kubectl, capture_output=True, text=True, check=False)
        ok = asked.returncode == 0 and " Ready " in asked.stdout
        return Health(ok, ok, (f"kind cluster {self.cluster}", (asked.stdout or asked.stderr).strip()))

    def load_image(self, archive: Path) -> None:
        """Hand the archive to kind."""
        with step(f"loading {archive.name} into {self.cluster}"):
            self._kind("load", "image-archive", str(archive), "--name", self.cluster)

    def down(self) -> None:
        """Delete the cluster, then the daemon if it is ours; what is gone already is no error."""
        try:
            if not self._daemon.exists:
                processes.kill_all(self.directory)  # a `kind create` whose caller was killed
            if self._config.exists():
                self._kind("delete", "cluster", "--name", self.cluster, "--kubeconfig", str(self.kubeconfig))
            if self._made_network.exists():
                self._docker("network", "rm", self._network)  # refused while another cluster is in it
        except ClusterError as error:
            if not self._daemon.exists:
                raise
            say(f"{error} (it ends with its daemon)")
        self._daemon.down()

    @property
    def daemon_version(self) -> str | None:
        """The version of the docker daemon, if it answers."""
        return docker.version(self._clients())

    @property
    def outside(self) -> str:
        """Address and port from which the mapping leads to NODE_PORT."""
        mapping = json.loads(self._config.read_text())["nodes"][0]["extraPortMappings"][0]
        return f"{mapping['listenAddress']}:{mapping['hostPort']}"

    def create(self, image: str) -> list[str]:
        """Return the arguments that create the cluster; a node that does not come up is kept, `down` removes it."""
        named = ["create", "cluster", "--name", self.cluster, "--config", str(self._config), "--retain"]
        return [*named, *(["--image", image] if image else []), "--kubeconfig", str(self.kubeconfig), "--wait", "180s"]

    def _kind(self, *arguments: str) -> None:
        program = self._environment.get("KIND") or str(binaries.path("kind"))
        environment = processes.marked(self.directory, self._clients())
        ended = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ClusterError(f"`kind {' '.join(arguments)}` failed:\n{ended.stderr[-4000:]}")

    def _docker(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(["docker", *arguments], env=self._clients(), capture_output=True, check=False)

    def _clients(self) -> Mapping[str, str]:
        return self._daemon.environment(self._environment) if self._daemon.exists else self._environment


def config(address: str, port: int, volumes: Path, networking: Mapping[str, object]) -> dict[str, Any]:
    """Return kind's configuration: one node, one of its ports open to the outside, a folder of it on the host.

    The folder, under one path on both sides, is for volumes where the node image brings no storage class.
    """
    node = {
        "role": "control-plane",
        "extraPortMappings": [{"containerPort": NODE_PORT, "listenAddress": address, "hostPort": port}],
        "extraMounts": [{"hostPath": str(volumes), "containerPath": str(volumes)}],
    }
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "networking": dict(networking), "nodes": [node]}
