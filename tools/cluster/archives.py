"""Image archives: read which image one holds, and write a tiny one."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError


@dataclass(frozen=True)
class Image:
    """An image in an archive: its id is the digest of its configuration, wherever it is stored."""

    id: str  # sha256:...
    names: tuple[str, ...]


def images(archive: Path) -> list[Image]:
    """Read the images of a docker archive or an OCI archive."""
    try:
        with tarfile.open(archive) as tar:
            members = set(tar.getnames())
            if "manifest.json" in members:
                return [_docker_image(tar, entry) for entry in _json(tar, "manifest.json")]
            if "index.json" in members:
                return [_oci_image(tar, entry) for entry in _json(tar, "index.json")["manifests"]]
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise ClusterError(f"{archive} cannot be read as an image archive: {error}.") from error
    raise ClusterError(f"{archive} is no image archive: it has neither a manifest.json nor an index.json.")


def write(archive: Path, *, name: str, program: Path, architecture: str) -> None:
    """Write a docker archive of an image that holds one static program and runs it."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    config_name = _digest(config).removeprefix("sha256:") + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    archive.write_bytes(_tar({"layer.tar": layer, config_name: config, "manifest.json": manifest}, mode=0o644))


def _docker_image(tar: tarfile.TarFile, entry: dict[str, object]) -> Image:
    config = tar.extractfile(str(entry["Config"]))
    if config is None:
        raise ValueError(f"{entry['Config']} is not a file")
    names = entry.get("RepoTags") or []
    return Image(_digest(config.read()), tuple(names) if isinstance(names, list) else ())


def _oci_image(tar: tarfile.TarFile, entry: dict[str, object]) -> Image:
    manifest = _json(tar, "blobs/" + str(entry["digest"]).replace(":", "/"))
    annotations = entry.get("annotations") or {}
    keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    named = [annotations[key] for key in keys if key in annotations] if isinstance(annotations, dict) else []
    return Image(manifest["config"]["digest"], tuple(named[:1]))


def _json(tar: tarfile.TarFile, member: str) -> Any:  # noqa: ANN401 -- JSON is whatever it is
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member} is not a file")
    return json.load(file)


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
