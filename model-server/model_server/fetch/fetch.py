"""Bring the model beside its place, check it, then put it there: a reader of DIR sees a whole model or the old one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.artefact.digest import Content, content_of
from model_server.artefact.publish import publish, staging
from model_server.artefact.record import write_fetch_seconds
from model_server.errors import ModelError, Reason
from model_server.fetch.download import Patience, download
from model_server.fetch.source import Claim, Local, Packing, Remote
from model_server.fetch.unpack import model_root, unpack

if TYPE_CHECKING:
    from model_server.fetch.source import Source

CURRENT = "current"
DIGEST = "digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where to, and within which bounds."""

    directory: Path
    pin: str | None
    ca_file: Path | None
    source_mount: Path
    max_bytes: int
    patience: Patience = field(default_factory=Patience)


def fetch(source: Source, options: Options) -> Content:
    """Make `DIR/current` the model and `DIR/digest` its digest, and say what it holds.

    The digest file is written last: where it exists, what it names is complete.
    """
    started = time.monotonic()
    target = options.directory / CURRENT
    if isinstance(source, Remote) and (here := _already_here(options)) is not None:
        return here
    with staging(options.directory) as place:
        staged = place / CURRENT
        if isinstance(source, Remote):
            _bring(source, place, staged, options)
        else:
            staged.symlink_to(_local_directory(source, options.source_mount), target_is_directory=True)
        content = content_of(staged)
        if options.pin not in (None, content.digest):
            message = f"The model has the digest {content.digest}, but {options.pin} is asked for; nothing was changed."
            raise ModelError(Reason.DIGEST_MISMATCH, message)
        (options.directory / DIGEST).unlink(missing_ok=True)
        publish(staged, target)
        write_fetch_seconds(options.directory, time.monotonic() - started)
        written = place / DIGEST
        written.write_text(content.digest + "\n", encoding="ascii")
        publish(written, options.directory / DIGEST)
    return content


def _already_here(options: Options) -> Content | None:
    """Spare a restarted pod the download, when what it has is exactly what is asked for."""
    current, digest = options.directory / CURRENT, options.directory / DIGEST
    if options.pin is None or not digest.is_file() or digest.read_text(encoding="ascii").strip() != options.pin:
        return None
    content = content_of(current)
    return content if content.digest == options.pin else None


def _bring(source: Remote, place: Path, staged: Path, options: Options) -> None:
    file = place / "download"
    download(source, file, ca_file=options.ca_file, max_bytes=options.max_bytes, patience=options.patience)
    if source.packing is Packing.SINGLE_FILE:
        staged.mkdir()
        file.rename(staged / source.filename)
        return
    unpacked = place / "unpacked"
    unpack(file, source.packing, unpacked, max_bytes=options.max_bytes)
    file.unlink()
    model_root(unpacked).rename(staged)


def _local_directory(source: Local | Claim, mount: Path) -> Path:
    path = Path(source.path) if isinstance(source, Local) else mount / source.path
    if not path.is_dir():
        where = "the container's file system" if isinstance(source, Local) else "the claim"
        message = f"There is no directory {source.path} on {where}; the model's URI names a model directory."
        raise ModelError(Reason.NOT_FOUND, message)
    return path
