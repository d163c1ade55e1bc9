"""Driver `given`: the cluster that $KUBECONFIG names, such as minikube's. Nothing is started and nothing is ended."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cluster import binaries
from cluster.drivers import Health
from cluster.errors import ClusterError
from cluster.progress import say


class Given:
    """Somebody else's cluster, as its current context stood when `up` was called."""

    def __init__(self, directory: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.kubeconfig = directory / "kubeconfig"
        self._theirs = environment.get("KUBECONFIG", "")

    def check(self) -> None:
        """Need no more than the kubeconfig, which `up` tries."""

    def up(self) -> None:
        """Keep a copy of the current context, so that a later switch of it does not lead us elsewhere."""
        view = [str(binaries.path("kubectl")), "config", "view", "--raw", "--flatten", "--minify"]
        asked = subprocess.run(view, capture_output=True, text=True, check=False)
        if asked.returncode:
            raise ClusterError(f"KUBECONFIG={self._theirs} does not lead to a cluster: {asked.stderr.strip()}")
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(asked.stdout)
        health = self.health()
        if not health.ok:
            raise ClusterError(f"The cluster of KUBECONFIG={self._theirs} does not answer: {health.lines[-1]}")
        say(f"using the cluster of KUBECONFIG={self._theirs}; unset KUBECONFIG to have one started instead")

    def health(self) -> Health:
        """Ask the cluster's nodes."""
        kubectl = [str(binaries.path("kubectl")), f"--kubeconfig={self.kubeconfig}", "get", "nodes", "--output=wide"]
        asked = subprocess.run(kubectl, capture_output=True, text=True, check=False)
        ok = asked.returncode == 0
        return Health(ok, ok, ("a cluster that was given", (asked.stdout or asked.stderr).strip()))

    def load_image(self, archive: Path) -> None:
        """Refuse: there is no common way."""
        raise ClusterError(
            f"{archive} must be loaded by the means of the cluster that KUBECONFIG names, "
            f"for example: minikube image load {archive}"
        )

    def down(self) -> None:
        """Leave the cluster alone."""
