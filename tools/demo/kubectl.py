"""kubectl as a function: JSON in, JSON out, errors in kubectl's own words."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError

Manifest = dict[str, Any]


class Kubectl:
    """kubectl for one cluster."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self._command = [str(program), f"--kubeconfig={kubeconfig}"]

    def __call__(self, *arguments: str | Path, given: str = "") -> str:
        """Run it and return what it printed."""
        command = [*self._command, *map(str, arguments)]
        ended = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ClusterError(f"kubectl {' '.join(map(str, arguments))}: {ended.stderr.strip()}")
        return ended.stdout

    def get(self, *arguments: str) -> Manifest:
        """Return an object or a list."""
        found: Manifest = json.loads(self("get", *arguments, "--output=json"))
        return found

    def apply(self, *manifests: Manifest) -> None:
        """Apply objects."""
        bundle = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self("apply", "--server-side", "--force-conflicts", "--filename=-", given=json.dumps(bundle))

    def watch(self, kind: str, name: str, *, seconds: int) -> Iterator[Manifest]:
        """Yield an object now and after each change, until the time is up."""
        lines = ["--watch", '--output=jsonpath={@}{"\\n"}', f"--request-timeout={seconds}s"]
        with subprocess.Popen(
            [*self._command, "get", kind, name, *lines],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                for line in process.stdout or ():
                    yield json.loads(line)
            finally:
                process.terminate()
