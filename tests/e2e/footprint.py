"""What of the machine a cluster could change: nothing of it may differ when the cluster is gone."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from cluster import cgroups, docker, home, processes

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
_PATIENCE_SECONDS = 5.0


def footprint(directory: Path) -> set[str]:
    """Return everything of the machine that the cluster in this directory could change."""
    seen = {f"exists {folder}" for folder in FOLDERS if Path(folder).exists()}
    for setting in SETTINGS:
        path = Path("/proc/sys", setting)
        seen.add(f"{setting} = {path.read_text().strip() if path.exists() else 'nothing'}")
    for question in (["ip", "-oneline", "link"], ["ip", "route", "show", "table", "all"], ["ip", "netns"]):
        answer = subprocess.run(question, capture_output=True, text=True, check=True).stdout
        # "oneline" numbers the links; a number that was given once says nothing.
        seen |= {" ".join([*question, line.partition(": ")[2] or line]) for line in answer.splitlines()}
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


def changed(directory: Path, before: set[str]) -> list[str]:
    """Compare with before; whatever else happens on this machine meanwhile gets a moment to pass."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := footprint(directory) ^ before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return sorted(left)
