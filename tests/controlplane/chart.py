"""The chart, and helm with folders of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cluster import binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/modelservice-operator"
CRD = "modelservices.modelservice.dev"
RELEASE = "modelservice-operator"


class Helm:
    """helm with folders of its own."""

    def __init__(self, home: Path, kubeconfig: Path | None = None, *, program: str = "helm") -> None:
        folders = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        self._environment = os.environ | folders | {"KUBECONFIG": str(kubeconfig or home / "none")}
        self._program = binaries.path(program)

    def __call__(self, *arguments: str | Path) -> str:
        """Return what helm prints; a failure is the test's."""
        done = subprocess.run(
            [self._program, *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def all(self, *options: str) -> Iterator[dict[str, Any]]:
        """Return what the chart renders."""
        rendered = yaml.safe_load_all(self("template", RELEASE, CHART, "--namespace=operators", *options))
        return (each for each in rendered if each)

    def manifests(self, *options: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Return what the chart renders, by kind and name."""
        return {(each["kind"], each["metadata"]["name"]): each for each in self.all(*options)}
