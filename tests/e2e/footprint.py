"""What of the machine a cluster could change: nothing of it may differ when the cluster is gone.

Clusters of other directories may come and go meanwhile: what is theirs does not count.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster import cgroups, docker, home, processes
from cluster.enclave import Enclave

if TYPE_CHECKING:
    from collections.abc import Iterable

# What a kubelet, a container runtime, docker or a network plugin is known to make or to change.
FOLDERS = (
    *("/etc/cni", "/etc/docker", "/etc/kubernetes", "/lib/modules", "/opt/cni", "/opt/containerd", "/run/containerd"),
    *("/run/docker", "/run/docker.pid", "/run/docker.sock", "/run/flannel", "/run/netns", "/run/xtables.lock"),
    *("/usr/libexec/kubernetes", "/var/lib/cni", "/var/lib/containerd", "/var/lib/docker", "/var/lib/kubelet"),
    *("/var/log/containers", "/var/log/pods"),
)
SETTINGS = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys"),
    *("kernel/keys/root_maxbytes", "kernel/pid_max", "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max"),
    *("fs/protected_fifos", "fs/protected_hardlinks", "fs/protected_regular", "fs/protected_symlinks"),
)
_PATIENCE_SECONDS = 20.0
_CGROUP = re.compile(r"cgroup .*/(modelservice-[0-9a-f]{8})")
_CABLE = re.compile(r"ip .*\b(modelsvc\d+)\b.*")


@dataclass(frozen=True)
class Neighbour:
    """A cluster of another directory that lives."""

    directory: str
    cable: str = ""
    """To the machine; empty: it has none, or none yet."""


def changes(before: set[str], after: set[str], cgroup: str, neighbours: Iterable[Neighbour] = ()) -> list[str]:
    """Return what has come and what has gone, but for what is other clusters'; ours has this control group.

    A control group tells by its name whose it is. A cable does not: a new one is a neighbour's while that lives, and
    one that has gone was there before our cluster was, so it never was ours.
    """
    come = {each for each in after - before if not _is_of_another(each, cgroup, neighbours)}
    gone = {each for each in before - after if not (_CGROUP.fullmatch(each) or _CABLE.fullmatch(each))}
    return sorted(come | gone)


def _is_of_another(entry: str, cgroup: str, neighbours: Iterable[Neighbour]) -> bool:
    if group := _CGROUP.fullmatch(entry):
        return group[1] != cgroup
    if cable := _CABLE.fullmatch(entry):
        return any(each.cable == cable[1] for each in neighbours)
    return any(f"{entry}/".startswith(f"mount {each.directory}/") for each in neighbours)


def footprint(directory: Path) -> set[str]:
    """Return everything of the machine that the cluster in this directory could change."""
    seen = {f"exists {folder}" for folder in FOLDERS if Path(folder).exists()}
    for setting in SETTINGS:
        path = Path("/proc/sys", setting)
        seen.add(f"{setting} = {path.read_text().strip() if path.exists() else 'nothing'}")
    # "oneline" numbers the links; a number that was given once says nothing.
    seen |= {f"ip link {line.partition(': ')[2]}" for line in _lines("ip", "-oneline", "link")}
    # Anycast comes with IPv6 forwarding, which docker turns on for kind's network and nobody turns off.
    routes = (line for line in _lines("ip", "route", "show", "table", "all") if not line.startswith("anycast "))
    seen |= {f"ip route {line}" for line in routes} | {f"ip netns {line}" for line in _lines("ip", "netns")}
    seen |= {f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines()}
    for tree in cgroups.mounted():
        seen |= {f"cgroup {tree.path / entry.name}" for entry in tree.path.iterdir() if entry.is_dir()}
    if docker.version() is not None:
        for kind in ("container", "volume"):
            listed = subprocess.run(["docker", kind, "ls", "--quiet"], capture_output=True, text=True, check=True)
            seen |= {f"{kind} {name}" for name in listed.stdout.split()}
    seen |= {f"process {pid}" for pid in processes.find(directory)}
    seen |= {f"state {entry}" for entry in home.ROOT.glob(f"*{directory.name}*")}
    return seen


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def changed(directory: Path, before: set[str]) -> list[str]:
    """Compare with before; whatever else happens on this machine meanwhile gets a moment to pass."""
    cgroup = Enclave(directory).cgroup
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := changes(before, footprint(directory), cgroup, neighbours(directory)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


def neighbours(directory: Path) -> list[Neighbour]:
    """Return the clusters of other directories that live."""
    return [_neighbour(each) for each in processes.directories() - {str(directory.resolve())}]


def _neighbour(directory: str) -> Neighbour:
    try:
        return Neighbour(directory, Enclave(Path(directory)).network().link)
    except (OSError, ValueError, KeyError):  # a control plane, or one that has not come to a network
        return Neighbour(directory)
