"""kubectl for the namespace of the stories."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from cluster import binaries

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]


class Kubectl:
    """kubectl with a kubeconfig; errors are the test's, in kubectl's own words."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [str(binaries.path("kubectl")), f"--kubeconfig={kubeconfig}"]

    def __call__(self, *arguments: str | Path, given: str = "") -> str:
        """Run it and return what it printed."""
        ended = subprocess.run([*self._command, *arguments], input=given, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {ended.stderr.strip()}"
        return ended.stdout

    def get(self, *arguments: str) -> Object:
        """Return an object or a list."""
        found: Object = json.loads(self("get", *arguments, "--output=json"))
        return found

    def items(self, *arguments: str) -> list[Object]:
        """Return the objects of a list."""
        found: list[Object] = self.get(*arguments)["items"]
        return found

    def apply(self, *manifests: Object) -> None:
        """Apply objects."""
        self("apply", "--filename=-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one that goes on until its stdin ends."""
        return subprocess.Popen(
            [*self._command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True
        )
