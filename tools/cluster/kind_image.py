"""A node image for kind where no registry is: Debian's packages, kind's own files, and programs that we build.

kind's files are read from the Go module of its program. The result is what kindest/node is, but for this: the images of
the control plane are imported at the first start instead of lying in containerd already; pods are connected by a bridge
instead of kindnetd, so there is one node and no NetworkPolicy; and there is no storage class.
"""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from cluster import archives, binaries, build, debian, node_config
from cluster.errors import ClusterError
from cluster.pins import FOR_KIND_IMAGE, KUBERNETES, TOOLS
from cluster.processes import CONTAINED
from cluster.progress import step

_MODULE = "sigs.k8s.io/kind"
_RELEASE = "bookworm"  # whose systemd runs with control groups of version 1 as they are
# kind's own list, without what is for storage over networks; and the runtime, which kind builds.
_PACKAGES = (
    *("systemd", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod"),
    *("libseccomp2", "bash", "ca-certificates", "curl", "jq", "netbase", "procps"),
    *("containerd", "runc", "containernetworking-plugins"),
)
_POD_RANGE = "10.244.0.0/24"  # the first node's part of kind's default
_STANDARD_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LEFT_OUT = re.compile(r"\./(usr/share/(doc|info|locale|man)|var/(cache|lib/apt/lists|log)|tmp)/.")

# What systemd would start on a machine that is more than a node, and Debian's settings of the kernel, which is shared.
_UNWANTED = (
    *("usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service", "usr/lib/sysctl.d/*"),
    *("usr/lib/systemd/system/multi-user.target.wants/*", "etc/systemd/system/*.wants/*"),
    *("usr/lib/systemd/system/local-fs.target.wants/*", "usr/lib/systemd/system/sockets.target.wants/*udev*"),
    *("usr/lib/systemd/system/sockets.target.wants/*initctl*", "usr/lib/systemd/system/basic.target.wants/*"),
)
_WANTED = ("kubelet.service", "containerd.service", "undo-mount-hacks.service", "prepare-node.service")

_PREPARE_UNIT = """\
[Unit]
Description=Import the images of the control plane, keep the kubelet from changing the machine
Requires=containerd.service
After=containerd.service
Before=kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/kind/bin/prepare-node.sh

[Install]
WantedBy=multi-user.target
"""
# The kubelet finds the settings that it insists on in files that lie over the real ones.
_PREPARE = """\
#!/bin/bash
set -o errexit -o nounset -o pipefail
for setting in /kind/sysctl/*; do
    name=${setting##*/}
    mount --bind "$setting" "/proc/sys/${name//.//}"
done
for archive in /kind/images/*.tar; do
    ctr --namespace=k8s.io images import --all-platforms --no-unpack --digests "$archive"
done
"""
_NOTHING = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: no-%s, namespace: kube-system}\n"


def name() -> str:
    """Return the image's name: its tag holds the digest of everything that goes into it, except Debian's own state."""
    told = [
        Path(__file__).read_text(),
        settings(),
        *(binaries.full_version(TOOLS[tool]) for tool in ("kind", *FOR_KIND_IMAGE)),
    ]
    return f"localhost/modelservice/kind-node:{KUBERNETES}-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"


def archive() -> Path:
    """Return the docker archive of the image, made if it must be."""
    shelf = binaries.cache() / "kind-node"
    shelf.mkdir(parents=True, exist_ok=True)
    target = shelf / f"{name().rpartition(':')[2]}.tar"
    with (shelf / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            programs = {tool: binaries.own(tool) for tool in FOR_KIND_IMAGE}
            files = build.module(TOOLS["kind"].source, _MODULE) / "images/base/files"
            for old in shelf.iterdir():  # an older image, or what a killed build left
                if old.name != ".lock":
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
            doing = f"making a node image for kind from Debian {_RELEASE}"
            with step(doing), tempfile.TemporaryDirectory(dir=shelf) as folder:
                _make(Path(folder), files, programs).rename(target)
    return target


def _make(folder: Path, files: Path, programs: Mapping[str, Path]) -> Path:
    root, layer, target = folder / "root", folder / "layer.tar", folder / "image.tar"
    _run(debian.bootstrap(_RELEASE, _PACKAGES, root))
    _add_kind(root, files)
    _add_runtime(root)
    for program in ("kubeadm", "kubelet", "kubectl"):
        shutil.copy(programs[program], root / "usr/bin" / program)
    _add_images(root, files, programs)
    _write(root, settings())
    (root / "kind/bin/prepare-node.sh").chmod(0o755)
    _enable(root)
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(root, arcname=".", filter=_kept)
    with layer.open("rb") as content:
        archives.write_layer(target, name=name(), layer=content, config=_CONFIG)
    return target


# As the end of kind's Dockerfile has it.
_CONFIG = {
    "Env": [_STANDARD_PATH, "container=docker"],
    "StopSignal": "SIGRTMIN+3",
    "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
}


def settings() -> dict[str, str]:
    """Return the files that are neither Debian's nor kind's, by their path in the image."""
    return {
        "kind/version": KUBERNETES,
        "kind/manifests/default-cni.yaml": _NOTHING % "kindnetd",
        "kind/manifests/default-storage.yaml": _NOTHING % "storage-class",
        "kind/bin/prepare-node.sh": _PREPARE,
        "etc/systemd/system/prepare-node.service": _PREPARE_UNIT,
        "etc/cni/net.d/10-bridge.conflist": json.dumps(node_config.cni(_POD_RANGE), indent=2) + "\n",
        **{f"kind/sysctl/{key.replace('/', '.')}": value for key, value in node_config.KUBELET_SYSCTLS.items()},
    }


def _add_kind(root: Path, files: Path) -> None:
    """Copy kind's files, with the modes that its Dockerfile gives them."""
    for source in files.rglob("*"):
        if source.is_file():
            target = root / source.relative_to(files)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(0o755 if source.parent.name == "bin" else 0o644)
    # The two changes that a machine may need: without CAP_SYS_RESOURCE, and with control groups of version 1.
    _edit(root / "etc/containerd/config.toml", "restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
    _edit(root / "etc/default/kubelet", "KUBELET_EXTRA_ARGS=", "KUBELET_EXTRA_ARGS=--fail-cgroupv1=false ")


def _add_runtime(root: Path) -> None:
    """Put Debian's container runtime where kind's files look for it."""
    for program in ("containerd", "containerd-shim-runc-v2", "ctr"):
        (root / "usr/local/bin" / program).symlink_to(f"/usr/bin/{program}")
    (root / "opt/cni").mkdir(parents=True)
    (root / "opt/cni/bin").symlink_to("/usr/lib/cni")
    spec = json.loads(_inside(root, "ctr", "oci", "spec"))
    hooks = spec.setdefault("hooks", {}).setdefault("createContainer", [])
    hooks.append({"path": "/kind/bin/mount-product-files.sh"})
    spec["process"].pop("rlimits", None)
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))


def _add_images(root: Path, files: Path, programs: Mapping[str, Path]) -> None:
    """Write archives of the images that kubeadm asks for, under its names; what is in them is what we pin."""
    shelf = root / "kind/images"
    shelf.mkdir()
    config = (files / "etc/containerd/config.toml").read_text()
    asked = _run([str(programs["kubeadm"]), "config", "images", "list", f"--kubernetes-version={KUBERNETES}"]).split()
    for image in [*(image for image in asked if "/pause:" not in image), pause_image(config)]:
        program = image.rpartition("/")[2].partition(":")[0]
        members = {f"usr/local/bin/{program}": programs[program]}
        links: dict[str, str] = {}
        if program == "kube-proxy":
            members |= _packet_filters(root)
            links = {f"usr/sbin/{link}": "xtables-nft-multi" for link in _XTABLES}
        with tempfile.TemporaryFile() as layer:
            _write_layer(layer, members, links)
            described = {"Env": [_STANDARD_PATH], "Entrypoint": [f"/usr/local/bin/{program}"]}
            archives.write_layer(shelf / f"{program}.tar", name=image, layer=layer, config=described)


_XTABLES = [f"{tables}{what}" for tables in ("iptables", "ip6tables") for what in ("", "-save", "-restore")]


def _packet_filters(root: Path) -> dict[str, Path]:
    """Return the files of the programs that kube-proxy calls, with all libraries, by their path in its image."""
    programs = [root / "usr/sbin" / name for name in ("xtables-nft-multi", "nft", "conntrack")]
    files = {f"/{file.relative_to(root)}" for file in [*programs, *root.glob("usr/lib/*/xtables/*.so")]}
    libraries = re.findall(r"(/\S+) \(0x", _inside(root, "ldd", *sorted(files)))
    wanted = sorted({*files, *libraries, "/etc/protocols"})
    found = _inside(root, "realpath", *wanted).splitlines()
    return {file[1:]: root / real[1:] for file, real in zip(wanted, found, strict=True)}


def pause_image(config: str) -> str:
    """Return the image that kind's configuration of containerd names for a pod's first container."""
    found = re.search(r'^\s*sandbox_image = "(.+)"', config, re.MULTILINE)
    if not found:
        raise ClusterError("kind's containerd configuration names no sandbox_image.")
    return found[1]


def _enable(root: Path) -> None:
    """Let systemd start what a node needs, and nothing else."""
    for pattern in _UNWANTED:
        for link in root.glob(pattern):
            link.unlink()
    units = root / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    for unit in _WANTED:
        (units / "multi-user.target.wants" / unit).symlink_to(f"/etc/systemd/system/{unit}")
    (units / "systemd-binfmt.service").symlink_to("/dev/null")  # it would register things with the machine's kernel
    with (root / "etc/systemd/journald.conf").open("a") as journal:
        journal.write("ReadKMsg=no\n")
    (root / "usr/sbin/init").symlink_to("/usr/lib/systemd/systemd")
    (root / "etc/kubernetes/manifests").mkdir(parents=True)


def _write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def _write_layer(layer: BinaryIO, members: Mapping[str, Path], links: Mapping[str, str]) -> None:
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path, source in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = source.stat().st_size, 0o755
            with source.open("rb") as content:
                tar.addfile(member, content)
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    layer.seek(0)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uname = member.gname = ""  # the numbers count, not what they are called on this machine
    return None if _LEFT_OUT.match(member.name) and not member.isdir() else member


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    if before not in text:
        raise ClusterError(f"kind's {path.name} no longer has {before!r}; look at what its new version has instead.")
    path.write_text(text.replace(before, after))


def _inside(root: Path, *command: str) -> str:
    """Run a program of the image in it."""
    return _run([*CONTAINED, "chroot", str(root), *command])


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed:\n{(ended.stderr or ended.stdout)[-4000:]}")
    return ended.stdout
