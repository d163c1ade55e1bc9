"""A new Debian root file system: the tools that it takes, and what goes in."""

import os
import shutil
import tarfile
from pathlib import Path

from cluster import debian
from cluster.errors import MissingError
from images import recipe
from images.programs import run


def require_tools() -> None:
    """Have debootstrap and buildah; without root say what to do instead."""
    if os.geteuid() != 0:
        raise MissingError(
            "No docker daemon answers, and building images from Debian packages needs root. Start docker, or run this: "
            "sudo python3 tools/images build"
        )
    if not all(map(shutil.which, ("debootstrap", "buildah"))):
        debian.ensure(("debootstrap", "debian-archive-keyring", "buildah"))


def make_root(base: recipe.Base, folder: Path, log: Path) -> Path:
    """Install a release's smallest system with the base's packages, and return it as a tar without what is left out."""
    root, archive = folder / "root", folder / "rootfs.tar"
    run(debian.bootstrap(base.release, base.packages, root), log=log)
    (root / "etc/dpkg/dpkg.cfg.d/modelservice").write_text(recipe.dpkg_configuration())
    (root / "usr/bin/python").symlink_to("python3")
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(root, arcname=".", filter=_kept)
    versions = installed_versions((root / "var/lib/dpkg/status").read_text())
    (folder / "versions").write_text("".join(f"{name} {version}\n" for name, version in versions.items()))
    shutil.rmtree(root)
    return archive


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = member.name.removeprefix(".")
    if not member.isdir() and (recipe.is_left_out(path) or recipe.is_leftover(path)):
        return None
    return member


def installed_versions(status: str) -> dict[str, str]:
    """Read package names and versions from dpkg's status file."""
    versions: dict[str, str] = {}
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            versions[fields["Package"]] = fields["Version"]
    return versions
