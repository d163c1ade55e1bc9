"""One control group per cluster, in every hierarchy that is mounted, so that `down` knows what to remove."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError

_PATIENCE_SECONDS = 10.0
_NEEDED = {"cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer"}


@dataclass(frozen=True)
class Hierarchy:
    """One mounted tree of control groups."""

    path: Path
    controllers: frozenset[str]
    unified: bool  # version 2


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Read the mounted trees from the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        path, (file_system, _, options) = Path(place.split()[4]), kind.split()[:3]
        if file_system == "cgroup":
            found.append(Hierarchy(path, frozenset(options.split(",")), unified=False))
        elif file_system == "cgroup2":
            found.append(Hierarchy(path, frozenset(), unified=True))
    return found


def mounted() -> list[Hierarchy]:
    """Return what is mounted here."""
    return hierarchies(Path("/proc/self/mountinfo").read_text())


def lacking(trees: list[Hierarchy]) -> set[str]:
    """Return the controllers that a kubelet needs and does not find; version 2 alone has what it needs."""
    if all(tree.unified for tree in trees):
        return set() if trees else {"cgroup2"}
    return _NEEDED - {controller for tree in trees for controller in tree.controllers}


def create(name: str) -> None:
    """Make the group everywhere."""
    trees = mounted()
    for tree in trees:
        group = tree.path / name
        group.mkdir(exist_ok=True)
        if "cpuset" in tree.controllers:  # a new group of version 1 has no processors until it is given some
            for file in ("cpuset.cpus", "cpuset.mems"):
                (group / file).write_text((tree.path / file).read_text())
        if tree.unified and len(trees) == 1:  # pure version 2; never run on such a machine by us
            available = (tree.path / "cgroup.controllers").read_text().split()
            for parent in (tree.path, group):
                (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in available))


def remove(name: str) -> None:
    """Remove the group and all groups in it, everywhere; its processes must have been killed before."""
    for tree in mounted():
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (tree.path / name).is_dir():
            _remove_empty(tree.path / name)
            if time.monotonic() > deadline:
                raise ClusterError(f"The control group {tree.path / name} is still in use and cannot be removed.")
            time.sleep(0.02)


def _remove_empty(group: Path) -> None:
    """Remove what can be removed by now, the deepest first: a dying process keeps its group for a moment."""
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
