"""What a machine must have for a cluster of ours: all that is missing is told at once, before anything is changed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from cluster import binaries, cgroups, runtime
from cluster.errors import MissingError
from cluster.pins import FOR_KIND, FOR_KIND_IMAGE, FOR_NODE, TOOLS
from cluster.runtime import Runtime

_GIB = 1 << 30
_DISK = 10 * _GIB
_MEMORY = 3 * _GIB
_MODULES = ("overlay", "br_netfilter", "veth", "nf_tables")

# Not `ip` and what else `runtime` fetches by itself.
_TOOLS = (
    ("openssl", "openssl"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
)

# Each line of the script is one attempt, in namespaces that end with it.
_ATTEMPTS = {
    "mount a file system": "mount -t tmpfs tmpfs {scratch}",
    "lay overlays over the cluster's directory": "cd {scratch} && mkdir l u w m && mount -t overlay -o "
    "lowerdir=l,upperdir=u,workdir=w overlay m",
    "make virtual cables": "ip link add name one type veth peer name two",
    "make bridges": "ip link add name one type bridge",
}


def check_controlplane(programs: Iterable[str]) -> None:
    """Raise one error that names all that an API server lacks here."""
    _refuse("This machine cannot run a control plane:", [*_missing_basics(programs, _TOOLS[:1])])


def check_node(directory: Path) -> None:
    """Raise one error that names all that a node lacks here."""
    _refuse("This machine cannot run a node:", [*_missing(directory, FOR_NODE, runtime.find)])


def check_docker(directory: Path) -> None:
    """Raise one error that names all that a docker daemon of our own, with kind's node in it, lacks here."""
    lacks = [*_missing(directory, (*FOR_KIND, *FOR_KIND_IMAGE), runtime.find_docker)]
    if not (shutil.which("go") and (shutil.which("debootstrap") or shutil.which("apt-get"))):
        lacks.append("The node image is made from kind's Go module by debootstrap: install Go and debootstrap.")
    _refuse("No docker daemon answers (`docker info`), and this machine cannot run one of our own:", lacks)


def _refuse(headline: str, lacks: list[str]) -> None:
    if lacks:
        raise MissingError("\n".join([headline, *(f"  - {lack}" for lack in lacks)]))


def _missing(directory: Path, programs: Iterable[str], find: Callable[[], Runtime]) -> Iterable[str]:
    yield from _missing_basics(programs, _TOOLS)
    if sys.platform != "linux":
        return
    if os.geteuid() != 0:
        yield "Namespaces and mounts need root: run this with sudo --preserve-env=PATH."
        return
    try:
        find().enter()
    except MissingError as error:
        yield str(error)
        return
    _load_modules()
    yield from _refused_attempts(directory)
    if lacking := cgroups.lacking(cgroups.mounted()):
        yield f"Control groups without {', '.join(sorted(lacking))}: mount them."
    if not Path("/dev/kmsg").exists():
        yield "/dev/kmsg is missing; the kubelet reads it: mknod /dev/kmsg c 1 11."
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        yield "The kernel module br_netfilter is missing; without it no pod reaches a Service: modprobe br_netfilter."
    if (free := shutil.disk_usage(directory.parent).free) < _DISK:
        yield f"{free / _GIB:.1f} GiB are free in {directory.parent}; images need {_DISK / _GIB:.0f}."
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < _MEMORY:
        yield f"{memory / _GIB:.1f} GiB of memory; a cluster with a model server needs {_MEMORY / _GIB:.0f}."


def _missing_basics(programs: Iterable[str], tools: Iterable[tuple[str, str]]) -> Iterable[str]:
    if sys.platform != "linux":
        yield "It is not Linux. The cluster that KUBECONFIG names, such as minikube's, will do as well."
    for tool, package in tools:
        if not shutil.which(tool):
            yield f"{tool} is not on PATH: install the package {package}."
    unbuilt = [name for name in programs if not binaries.find(TOOLS[name])]
    if unbuilt and not shutil.which("go"):
        yield f"{', '.join(unbuilt)}: neither installed nor built, and Go is not on PATH: install Go 1.26 or newer."


def _load_modules() -> None:
    """Load what is not built in; where nothing can be loaded, the checks that follow tell what is missing."""
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "--all", "--quiet", *_MODULES], capture_output=True, check=False)


def _refused_attempts(directory: Path) -> Iterable[str]:
    scratch = directory.parent / f".{directory.name}.preflight"
    for what, script in _ATTEMPTS.items():
        shutil.rmtree(scratch, ignore_errors=True)  # of a check that was killed
        scratch.mkdir(parents=True)
        attempt = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c"]
        ended = subprocess.run([*attempt, script.format(scratch=scratch)], capture_output=True, text=True, check=False)
        shutil.rmtree(scratch)
        if ended.returncode:
            yield f"Not allowed or not possible here: to {what} ({ended.stderr.strip()})."
