"""Models as OCI artefacts: each file of the directory is a layer, named by the digest of its content.

What is read: a manifest whose layers are files and say their names, as `model-server push` and ORAS write them.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from model_server.errors import ModelError, Reason
from model_server.fetch.origin import Checksum, File, Listing, skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_server.fetch.origin import Body
    from model_server.fetch.registry import Registry
    from model_server.fetch.source import Artefact

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"
FILEPATH = "org.cncf.model.filepath"
DIGEST_HEADER = "Docker-Content-Digest"
_UNPACK = "io.deis.oras.content.unpack"
_MAX_MANIFEST_BYTES = 4 * 1024 * 1024  # what registries take
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A blob: what it is, its digest, its size."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The file that it is; empty where it says none, or is an archive of files."""
        is_packed = self.annotations.get(_UNPACK) == "true" or ".v1.tar" in self.media_type.partition("vnd.cncf.")[2]
        return "" if is_packed else self.annotations.get(FILEPATH) or self.annotations.get(TITLE, "")


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An image manifest, as artefacts have it, too."""

    schema_version: int = 2
    media_type: str = MANIFEST
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]


class ArtefactOrigin:
    """The layers of one manifest."""

    def __init__(self, source: Artefact, registry: Registry) -> None:
        self.shown = source.shown
        self._source = source
        self._registry = registry

    def list(self) -> Listing:
        """Read the manifest, which is what its digest says; a layer that is no file is told."""
        with self._registry.open(f"manifests/{self._source.reference}", headers={"Accept": MANIFEST}) as answer:
            text = answer.read(_MAX_MANIFEST_BYTES + 1)
            told = self._source.reference if self._source.is_pinned else answer.headers.get(DIGEST_HEADER, "")
        if _DIGEST.fullmatch(told) and told != f"sha256:{hashlib.sha256(text).hexdigest()}":
            message = f"{self.shown}: the registry's manifest has another digest than {told}; nothing of it is used."
            raise ModelError(Reason.DIGEST_MISMATCH, message)
        try:
            manifest = msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError as error:
            message = f"{self.shown} is no artefact of files, it has no manifest with layers: {error}."
            raise ModelError(Reason.INVALID, message) from error
        for layer in manifest.layers:
            if not layer.name or not _DIGEST.fullmatch(layer.digest):
                what = f"its layer {layer.digest} ({layer.media_type}) is not a file with a name"
                message = f"{self.shown} is no artefact of files: {what}; push it with model-server push or oras push."
                raise ModelError(Reason.INVALID, message)
        files = sorted((File(layer.name, layer.size, layer.digest) for layer in manifest.layers), key=lambda f: f.name)
        if not files:
            raise ModelError(Reason.INVALID, f"{self.shown} has no layers.")
        return Listing(tuple(files), is_directory=len(files) > 1)

    @contextlib.contextmanager
    def read(self, file: File, start: int, stop: int) -> Iterator[Body]:
        """Open some bytes of a layer."""
        wanted = {} if (start, stop) == (0, file.size) else {"Range": f"bytes={start}-{stop - 1}"}
        with self._registry.open(f"blobs/{file.version}", headers=wanted) as body:
            if wanted and body.status != HTTPStatus.PARTIAL_CONTENT:  # who ignores ranges sends all of it
                skip(body, start)
            yield body

    def checksum(self, file: File) -> Checksum:
        """Return the digest that names the layer."""
        return Checksum("sha256", file.version.removeprefix("sha256:"))
