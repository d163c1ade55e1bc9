"""The container runtimes: what is installed where it will do, else Debian's packages, unpacked."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import debian
from cluster.errors import ClusterError
from cluster.pins import Version, version_in

PACKAGES = ("containerd", "runc", "containernetworking-plugins", "nftables", "iproute2")
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "nft", "ip")
PLUGINS = ("bridge", "host-local", "loopback")
_DOCKER_PACKAGES = ("docker.io", "containerd", "runc", "iptables", "iproute2")
_DOCKER_PROGRAMS = ("dockerd", "docker", "containerd", "containerd-shim-runc-v2", "runc", "iptables-nft", "ip")
_AT_LEAST: dict[str, Version] = {"containerd": (1, 6, 0), "runc": (1, 1, 0), "dockerd": (20, 10, 0)}
_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Runtime:
    """Where the programs of a runtime are; `root` is `/`, or where their packages were unpacked."""

    path: str
    root: Path = Path("/")

    def enter(self) -> None:
        """Let this process, and all that it starts, find the programs and their libraries."""
        os.environ["PATH"] = self.path
        if self.root == Path("/"):
            return
        if libraries := debian.libraries(self.root):
            os.environ["LD_LIBRARY_PATH"] = ":".join(map(str, libraries))
        for extensions in self.root.glob("usr/lib/*/xtables"):
            os.environ["XTABLES_LIBDIR"] = str(extensions)

    def program(self, name: str) -> Path:
        """Return one of the programs."""
        found = shutil.which(name, path=self.path)
        if not found:
            raise ClusterError(f"{name} is missing although its package was fetched; looked in {self.path}.")
        return Path(found)

    @property
    def plugins(self) -> Path:
        """The folder of network plugins."""
        plugins = plugin_folder(self.root) or plugin_folder(Path("/"))
        if not plugins:
            raise ClusterError(f"The network plugins {', '.join(PLUGINS)} are neither installed nor in {self.root}.")
        return plugins


def find() -> Runtime:
    """Return what a node of ours needs; what is missing is fetched."""
    return _find(PROGRAMS if plugin_folder(Path("/")) else None, PACKAGES)


def find_docker() -> Runtime:
    """Return what a docker daemon of ours needs; what is missing is fetched."""
    return _find(_DOCKER_PROGRAMS, _DOCKER_PACKAGES)


def _find(programs: Sequence[str] | None, packages: Sequence[str]) -> Runtime:
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM}"
    if programs and all(_suits(name, shutil.which(name, path=path)) for name in programs):
        return Runtime(path)
    root = debian.unpacked(packages)
    return Runtime(":".join([*map(str, debian.programs(root)), path]), root)


def plugin_folder(root: Path) -> Path | None:
    """Return the folder below `root` that holds all network plugins that we use."""
    for folder in (root / "opt/cni/bin", root / "usr/lib/cni"):
        if all((folder / plugin).exists() for plugin in PLUGINS):
            return folder
    return None


def _suits(name: str, program: str | None) -> bool:
    if not program:
        return False
    if name not in _AT_LEAST:
        return True
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = version_in(asked.stdout)
    return version is not None and version >= _AT_LEAST[name]
