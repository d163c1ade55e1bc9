"""The container runtime of a node: what is installed where it will do, else Debian's packages, unpacked."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster import debian
from cluster.errors import ClusterError
from cluster.pins import Version, version_in

PACKAGES = ("containerd", "runc", "containernetworking-plugins", "nftables", "iproute2")
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "nft", "ip")
PLUGINS = ("bridge", "host-local", "loopback")
_AT_LEAST: dict[str, Version] = {"containerd": (1, 6, 0), "runc": (1, 1, 0)}
_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Runtime:
    """Where the programs and the network plugins of a node are."""

    path: str
    library_path: str
    plugins: Path

    def enter(self) -> None:
        """Let this process, and all that it starts, find the programs and their libraries."""
        os.environ["PATH"] = self.path
        if self.library_path:
            os.environ["LD_LIBRARY_PATH"] = self.library_path

    def program(self, name: str) -> Path:
        """Return one of the programs."""
        found = shutil.which(name, path=self.path)
        if not found:
            raise ClusterError(f"{name} is missing although its package was fetched; looked in {self.path}.")
        return Path(found)


def find() -> Runtime:
    """Return a complete runtime; what is missing is fetched."""
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM}"
    plugins = plugin_folder(Path("/"))
    if plugins and all(_suits(name, shutil.which(name, path=path)) for name in PROGRAMS):
        return Runtime(path, "", plugins)
    root = debian.unpacked(PACKAGES)
    plugins = plugin_folder(root) or plugins
    if not plugins:
        raise ClusterError(f"The network plugins {', '.join(PLUGINS)} are neither installed nor in {root}.")
    ours = [str(folder) for folder in debian.programs(root)]
    return Runtime(":".join([*ours, path]), ":".join(map(str, debian.libraries(root))), plugins)


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
