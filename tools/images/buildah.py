"""Images by buildah: a store of our own in the cache, no daemon, nothing mounted on the host."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.processes import CONTAINED
from images.programs import run

# pip and apt inside trust whom the host trusts, during the build only.
_HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Store:
    """Where buildah keeps layers, and where its steps leave their output."""

    folder: Path
    logs: Path

    def _command(self, *words: str | Path) -> list[str | Path]:
        own: list[str | Path] = [
            "--root",
            self.folder / "layers",
            "--runroot",
            self.folder / "run",
            "--storage-driver",
            "overlay",
        ]
        return [*CONTAINED, "buildah", *own, *words]

    def forget_crashes(self) -> None:
        """Drop what a killed build left; its mounts ended with it, so the counts that it kept of them are wrong."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        containers = subprocess.run(
            self._command("containers", "--quiet"), capture_output=True, text=True, check=False
        ).stdout.split()
        if containers:
            run(self._command("rm", *containers), log=self.logs / "forget.log")

    def has(self, tag: str) -> bool:
        """Whether the store holds an image of this name."""
        found = subprocess.run(self._command("inspect", "--type", "image", tag), capture_output=True, check=False)
        return found.returncode == 0

    def build(
        self,
        context: Path,
        tag: str,
        *,
        dockerfile: Path,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        volumes: Sequence[str] = (),
    ) -> None:
        """Build an image; steps whose inputs are unchanged come from the store."""
        trusted = [f"{_HOST_CERTIFICATES}:{_HOST_CERTIFICATES}:ro"] if _HOST_CERTIFICATES.exists() else []
        options = [
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *(f"--label={name}={value}" for name, value in labels.items()),
            *(f"--volume={volume}" for volume in (*volumes, *trusted)),
        ]
        run(
            self._command(
                *("build", "--layers", "--isolation", "chroot", "--pull-never"),
                *("--tag", tag, "--file", dockerfile),
                *options,
                context,
            ),
            log=self.logs / f"{tag.rsplit('/', 1)[-1].partition(':')[0]}.log",
        )

    def save(self, tag: str, archive: Path) -> None:
        """Write an image as a docker archive, uncompressed: compressing costs a node nearby more than it saves."""
        archive.unlink(missing_ok=True)
        run(self._command("push", tag, f"docker-archive:{archive}:{tag}"), log=self.logs / "save.log")

    def keep_only(self, tags: Sequence[str]) -> None:
        """Remove all other images, and the layers that only they used."""
        listed = subprocess.run(
            self._command("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}"),
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
        old = [name for name in listed if name not in tags and not name.startswith("<none>")]
        if old:
            run(self._command("rmi", "--force", *old), log=self.logs / "remove.log")
        run(self._command("rmi", "--prune"), log=self.logs / "prune.log")
