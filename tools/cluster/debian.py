"""Debian packages: installed when they must be (`ensure`), better unpacked into the cache (`unpacked`).

Unpacking leaves the machine as it was: no service is started, no other container runtime is pushed out, and nothing has
to be removed afterwards.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster import binaries
from cluster.errors import ClusterError, MissingError
from cluster.processes import CONTAINED
from cluster.progress import step

# debootstrap brings one script per release that it knows; this one fits all releases since and the next ones.
_SCRIPT = "sid"
_APT = ("apt-get", "--quiet", "--yes", "--no-install-recommends")


def ensure(packages: Sequence[str]) -> None:
    """Have these packages installed; install what is missing only as root, and name it before."""
    missing = [package for package in packages if not is_installed(package)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingError(f"Not installed: {', '.join(missing)}. Install them first: {install_command(missing)}")
    with step(f"installing the Debian packages {', '.join(missing)}"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if subprocess.run([*_APT, "install", *missing], env=quiet, capture_output=True, check=False).returncode:
            # Most likely no package list was ever fetched here, or it is too old.
            _run([*_APT, "update"], quiet)
            _run([*_APT, "install", *missing], quiet)


def install_command(packages: Sequence[str]) -> str:
    """Return the command that a person runs to install packages."""
    return f"sudo apt-get install --no-install-recommends {' '.join(packages)}"


def is_installed(package: str) -> bool:
    """Tell whether dpkg knows the package as installed."""
    if not shutil.which("dpkg-query"):
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def bootstrap(release: str, packages: Sequence[str], root: Path) -> list[str]:
    """Return the command that installs a release's smallest system with these packages in an empty folder."""
    if not shutil.which("debootstrap"):
        ensure(("debootstrap", "debian-archive-keyring"))
    # debootstrap takes the script's name only after a mirror; `_mirror` knows one wherever apt is.
    place = [site, _SCRIPT] if (site := _mirror()) else []
    options = ["--variant=minbase", f"--include={','.join(packages)}"]
    return [*CONTAINED, "debootstrap", *options, release, str(root), *place]


def _mirror() -> str | None:
    """Return the Debian mirror that the host itself uses; None leaves the choice to debootstrap."""
    question = ["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages", "Label: Debian"]
    if shutil.which(question[0]) is None:
        return None
    said = subprocess.run(question, capture_output=True, text=True, check=False).stdout.split()
    return said[0] if said else None


def unpacked(packages: Sequence[str]) -> Path:
    """Return a folder that holds these packages, and what they need beyond what is installed, as under `/`."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise MissingError(
            f"This machine lacks what the packages {', '.join(packages)} hold, and it has no apt-get to fetch them: "
            "install them by the means of your distribution (containerd, runc, CNI plugins in /opt/cni/bin, nftables, "
            "iproute2)."
        )
    shelf = binaries.cache() / "debian"
    root = shelf / f"{_release()}-{hashlib.sha256(' '.join(sorted(packages)).encode()).hexdigest()[:8]}"
    shelf.mkdir(parents=True, exist_ok=True)
    with (shelf / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with step(f"fetching the Debian packages {', '.join(packages)} (unpacked into the cache, not installed)"):
                _unpack(packages, root)
    return root


def _unpack(packages: Sequence[str], root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        work = Path(folder)
        archives, lists, made = work / "archives", work / "lists", work / "root"
        for place in (archives, lists, made):
            (place / "partial").mkdir(parents=True)
        here = ("-o", "Debug::NoLocking=1", "-o", f"Dir::Cache={work}", "-o", f"Dir::Cache::archives={archives}")
        fetch = [*_APT, *here, "--download-only", "install", *packages]
        if subprocess.run(fetch, capture_output=True, check=False).returncode:
            # No package lists, or outdated ones: take fresh ones of our own, so that root is not needed for that.
            own = ("-o", f"Dir::State::lists={lists}")
            _run([*_APT, *here, *own, "update"])
            _run([*fetch[: -len(packages) - 1], *own, "install", *packages])
        for archive in archives.glob("*.deb"):
            _run(["dpkg-deb", "--extract", str(archive), str(made)])
        (made / "partial").rmdir()
        made.rename(root)


def programs(root: Path) -> list[Path]:
    """Return the folders of an unpacked root that belong on PATH."""
    return [folder for folder in (root / "usr/sbin", root / "usr/bin", root / "sbin", root / "bin") if folder.is_dir()]


def libraries(root: Path) -> list[Path]:
    """Return the folders of an unpacked root that belong on LD_LIBRARY_PATH."""
    return sorted({*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")})


def _release() -> str:
    """Name the distribution's release: its programs fit its libraries only."""
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return "-".join(facts.get(key, "unknown").strip('"') for key in ("ID", "VERSION_CODENAME"))


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed:\n{ended.stderr[-2000:] or ended.stdout[-2000:]}")
