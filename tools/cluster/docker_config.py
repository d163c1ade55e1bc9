"""What the programs of a docker daemon of our own are told: their configuration files and command lines, as data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


@dataclass(frozen=True)
class DockerSettings:
    """Everything that the files below are made from."""

    directory: Path
    slot: int
    cgroup: str
    programs: Mapping[str, Path]
    has_modules: bool  # has the machine a folder /lib/modules?

    @property
    def etc(self) -> Path:
        """The folder of configuration files."""
        return self.directory / "etc"

    @property
    def socket(self) -> Path:
        """Where docker's clients find the daemon, from outside too."""
        return self.directory / "docker.sock"


def files(settings: DockerSettings) -> dict[Path, str]:
    """Return every configuration file with its text."""
    return {
        settings.etc / "docker/daemon.json": _json(daemon(settings)),
        settings.etc / "containerd.toml": containerd(settings),
        settings.directory / "plan.json": _json(plan(settings)),
    }


def daemon(settings: DockerSettings) -> dict[str, Any]:
    """Return docker's configuration."""
    return {
        "containerd": _CONTAINERD_SOCKET,
        "data-root": str(settings.directory / "docker"),
        "exec-root": "/run/docker",
        "pidfile": "/run/docker.pid",
        "hosts": [f"unix://{settings.socket}"],
        "storage-driver": "overlay2",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": f"/{settings.cgroup}",
        "log-level": "warn",
    }


def containerd(settings: DockerSettings) -> str:
    """Return containerd's configuration, without CRI and without what makes /opt/containerd on the machine."""
    return f"""\
version = 2
root = "{settings.directory / "containerd"}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{_CONTAINERD_SOCKET}"
"""


def plan(settings: DockerSettings) -> dict[str, Any]:
    """Return what the first process does: see `supervisor`."""
    programs = settings.programs
    folders = {"/etc": {"docker": str(settings.etc / "docker")}}  # docker writes a key beside its configuration
    if not settings.has_modules:  # kind mounts it into its node, and docker makes what it mounts
        folders["/usr/lib"] = {"modules": str(settings.directory / "modules")}
    return {
        "slot": settings.slot,
        "folders": folders,
        "shadows": {},
        "sysctls": {"net/ipv4/ip_forward": "1"},
        "processes": {
            "containerd": [str(programs["containerd"]), "--config", str(settings.etc / "containerd.toml")],
            "dockerd": [str(programs["dockerd"])],
        },
    }


# docker asks for every capability in a privileged container, and runc cannot give what the machine does not have.
RUNC = """\
#!/bin/sh
before=
for word; do
    case $before in
    --bundle) told=$word/config.json ;;
    --process) told=$word ;;
    *) told= ;;
    esac
    [ -z "$told" ] || sed -i 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g' "$told"
    before=$word
done
exec {runc} "$@"
"""


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
