"""Image archives: read which image one holds, and write one of a single layer."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cluster.errors import ClusterError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


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


def write(archive: Path, *, name: str, program: Path) -> None:
    """Write a docker archive of an image that holds one static program and runs it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, program.name, program.read_bytes(), mode=0o755)
    layer.seek(0)
    write_layer(archive, name=name, layer=layer, config={"Entrypoint": [f"/{program.name}"], "User": "65535:65535"})


def write_layer(archive: Path, *, name: str, layer: BinaryIO, config: Mapping[str, object]) -> None:
    """Write a docker archive of an image with one layer, a tar that may be large."""
    digest = "sha256:" + hashlib.file_digest(layer, "sha256").hexdigest()  # type: ignore[arg-type]  # any file will do
    described = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        }
    ).encode()
    described_as = _digest(described).removeprefix("sha256:") + ".json"
    manifest = json.dumps([{"Config": described_as, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("layer.tar")
        member.size = layer.seek(0, io.SEEK_END)
        layer.seek(0)
        tar.addfile(member, layer)
        for file, content in {described_as: described, "manifest.json": manifest}.items():
            _add(tar, file, content, mode=0o644)


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


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
