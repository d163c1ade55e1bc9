"""An OCI artefact: a layer for each file, and the manifest that names them, in the format of CNCF ModelPack."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from model_server.artefact.card import CARD, read_card
from model_server.artefact.digest import files_of
from model_server.errors import ModelError, Reason
from model_server.fetch.artefact import DIGEST_HEADER, FILEPATH, MANIFEST, TITLE, Descriptor, Manifest
from model_server.fetch.registry import Registry
from model_server.push.options import occupied

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.fetch.source import Artefact
    from model_server.push.options import Options

ARTEFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
_WEIGHTS = (".safetensors", ".pt2", ".pt", ".bin", ".gguf")


def put_artefact(directory: Path, target: Artefact, options: Options) -> tuple[str, bool]:
    """Send what the registry lacks; return the manifest's digest, and whether the tag is new or another."""
    if target.is_pinned:
        raise ModelError(Reason.INVALID, f"{target.shown} names a digest, which only content gives; push to a tag.")
    files = files_of(directory)
    layers = tuple(_layer(name, path) for name, path in sorted(files.items()))
    config = msgspec.json.encode(_config(directory, layers))
    manifest = Manifest(artifact_type=ARTEFACT_TYPE, config=_described(_CONFIG_TYPE, config), layers=layers)
    text = msgspec.json.encode(manifest)
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"

    silence = options.patience.silence_seconds
    registry = Registry(target, ca_file=options.ca_file, plain_http=options.plain_http, silence_seconds=silence)
    patience, shown = options.patience, target.shown
    there = patience.try_to(lambda: _tagged(registry, target), shown)
    if there == digest:
        return digest, False
    if there and not options.force:
        raise occupied(shown, f"the tag is of {there}")
    contents: dict[str, bytes | Path] = {manifest.config.digest: config}
    contents |= {layer.digest: files[layer.name] for layer in layers}
    for blob, content in contents.items():
        patience.try_to(lambda blob=blob, content=content: _put_blob(registry, target, blob, content), shown)  # type: ignore[misc]
    patience.try_to(lambda: _put_manifest(registry, target, text), shown)
    return digest, True


def _layer(name: str, path: Path) -> Descriptor:
    with path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        return Descriptor(_media_type(name), digest, file.tell(), {FILEPATH: name, TITLE: name})


def _media_type(name: str) -> str:
    kind = "weight.config"
    if name.endswith(_WEIGHTS):
        kind = "weight"
    elif name.endswith((".md", ".txt")):
        kind = "doc"
    elif name.endswith(".py"):
        kind = "code"
    return f"application/vnd.cncf.model.{kind}.v1.raw"


def _described(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


def _config(directory: Path, layers: tuple[Descriptor, ...]) -> dict[str, Any]:
    """Tell what the card tells, where there is one. Nothing of when: the same model has the same digest."""
    card = read_card(directory) if (directory / CARD).is_file() else None
    return {
        "descriptor": {"description": card.description} if card and card.description else {},
        "modelfs": {"type": "layers", "diffIds": [layer.digest for layer in layers]},
        "config": {"architecture": card.architecture, "format": card.format} if card else {},
    }


# -- what is sent


def _tagged(registry: Registry, target: Artefact) -> str:
    """Return the digest that the tag has now; empty where there is none."""
    try:
        with registry.open(f"manifests/{target.reference}", headers={"Accept": MANIFEST}) as answer:
            return answer.headers.get(DIGEST_HEADER) or f"sha256:{hashlib.sha256(answer.read()).hexdigest()}"
    except ModelError as error:
        if error.reason is Reason.NOT_FOUND:
            return ""
        raise


def _put_blob(registry: Registry, target: Artefact, digest: str, content: bytes | Path) -> None:
    try:
        with registry.open(f"blobs/{digest}", "HEAD"):
            return
    except ModelError as error:
        if error.reason is not Reason.NOT_FOUND:
            raise
    with registry.open("blobs/uploads/", "POST", b"") as answer:
        place = urljoin(answer.url, answer.headers.get("Location", ""))
    if urlsplit(place).scheme != urlsplit(answer.url).scheme:
        message = (
            f"{target.shown} is refused: the registry wants the upload at {urlsplit(place).scheme}://, not as asked."
        )
        raise ModelError(Reason.REFUSED, message)
    glue = "&" if urlsplit(place).query else "?"
    where = f"{place}{glue}{urlencode({'digest': digest})}"
    with registry.open(where, "PUT", content, {"Content-Type": "application/octet-stream"}):
        pass


def _put_manifest(registry: Registry, target: Artefact, text: bytes) -> None:
    with registry.open(f"manifests/{target.reference}", "PUT", text, {"Content-Type": MANIFEST}):
        pass
