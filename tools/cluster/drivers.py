"""The four ways to a cluster, and which one is taken."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cluster import docker
from cluster.errors import ClusterError


@dataclass(frozen=True)
class Health:
    """What `status` tells: whether the cluster is of use, whether anything of it lives, and what there is to know."""

    ok: bool
    alive: bool
    lines: tuple[str, ...]


class Driver(Protocol):
    """One way to a cluster. All of them leave a kubeconfig in the cluster's directory."""

    def check(self) -> None:
        """Raise one error that names all that this machine lacks for `up`; change nothing."""

    def up(self) -> None:
        """Start the cluster in an empty directory and return when it is of use."""

    def health(self) -> Health:
        """Look at the cluster."""

    def load_image(self, archive: Path) -> None:
        """Give the node an image from a docker or OCI archive."""

    def down(self) -> None:
        """End the cluster, whatever state it is in, and leave nothing of it outside of its directory."""


def choose(asked: str, environment: Mapping[str, str], ours: Path, *, docker_and_kind: bool) -> str:
    """Choose the way to a cluster with real pods: the user's own one, kind where it works, else a node of ours."""
    if asked != "auto":
        return asked
    named = environment.get("KUBECONFIG", "")
    if named and not Path(named).resolve().is_relative_to(ours.resolve()):
        return "given"
    return "kind" if docker_and_kind else "node"


def docker_and_kind(environment: Mapping[str, str]) -> bool:
    """Tell whether `kind` is here and docker's daemon answers."""
    kind = shutil.which(environment.get("KIND", "kind"), path=environment.get("PATH"))
    return kind is not None and docker.version(environment) is not None


def no_pods(archive: Path) -> ClusterError:
    """Explain why an image cannot be loaded where no pod runs."""
    return ClusterError(
        f"{archive} cannot be loaded: this cluster is a control plane, and no container ever runs in it. "
        "`up --profile node` starts one with a real node."
    )
