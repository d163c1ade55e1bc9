"""Bring the model beside its place, check it, then put it there: a reader of DIR sees a whole model or the old one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from model_server.artefact.digest import Content, content_of
from model_server.artefact.publish import publish, staging
from model_server.artefact.record import write_fetch_seconds
from model_server.artefact.signature import hold_signature
from model_server.errors import ModelError, Reason
from model_server.fetch.cache import Cache
from model_server.fetch.download import download
from model_server.fetch.origin import require_fit
from model_server.fetch.patience import Patience
from model_server.fetch.room import is_full, no_room
from model_server.fetch.source import Bucket, Claim, Local, Packing, Remote, Repository, packing_of
from model_server.fetch.transfer import transfer
from model_server.fetch.unpack import model_root, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.fetch.origin import Listing, Origin
    from model_server.fetch.source import Artefact, Source

CURRENT = "current"
DIGEST = "digest"
_DOWNLOADS = ".downloads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where to, and within which bounds."""

    directory: Path
    pin: str | None
    ca_file: Path | None
    source_mount: Path
    max_bytes: int
    cache: Path | None = None
    trusted_keys: Path | None = None
    """Whose signature there has to be; any or none without."""
    plain_http: bool = False
    """Whether a registry is asked without TLS."""
    patience: Patience = field(default_factory=Patience)


def fetch(source: Source, options: Options) -> Content:
    """Make `DIR/current` the model and `DIR/digest` its digest, and say what it holds.

    The digest file is written last: where it exists, what it names is complete.
    """
    try:
        return _fetch(source, options)
    except OSError as error:
        _tell(error, options)


def fetch_file(source: Source, options: Options) -> Path:
    """Bring the one file that the source names, nothing unpacked, into the directory, or say where it is already."""
    try:
        return _fetch_file(source, options)
    except OSError as error:
        _tell(error, options)


def _fetch(source: Source, options: Options) -> Content:
    started = time.monotonic()
    target = options.directory / CURRENT
    if not isinstance(source, Local | Claim) and (here := _already_here(options)) is not None:
        return here
    with staging(options.directory) as place:
        staged = place / CURRENT
        content = _stage(source, staged, options)
        _require_signed(staged, options)
        (options.directory / DIGEST).unlink(missing_ok=True)
        publish(staged, target)
        write_fetch_seconds(options.directory, time.monotonic() - started)
        written = place / DIGEST
        written.write_text(content.digest + "\n", encoding="ascii")
        publish(written, options.directory / DIGEST)
    return content


def _fetch_file(source: Source, options: Options) -> Path:
    if isinstance(source, Local | Claim):
        return _local(source, options.source_mount, Path.is_file, "file")
    if isinstance(source, Remote):
        file = options.directory / "file"
        download(source, file, ca_file=options.ca_file, max_bytes=options.max_bytes, patience=options.patience)
        return file
    origin = _origin(source, options)
    listing = _listing(origin, options)
    if listing.is_directory:
        message = f"{origin.shown} is a directory of {len(listing.files)} files; the URI names one file."
        raise ModelError(Reason.INVALID, message)
    return transfer(origin, listing, options.directory, options.patience) / listing.files[0].name


def _already_here(options: Options) -> Content | None:
    """Spare a restarted pod the download, when what it has is exactly what is asked for."""
    current, digest = options.directory / CURRENT, options.directory / DIGEST
    if options.pin is None or not digest.is_file() or digest.read_text(encoding="ascii").strip() != options.pin:
        return None
    with contextlib.suppress(ModelError, FileNotFoundError):  # it may be a link into a cache that somebody clears
        content = content_of(current)
        _require_signed(current, options)
        return content if content.digest == options.pin else None
    return None


def _stage(source: Source, staged: Path, options: Options) -> Content:
    """Put the model that is asked for, or a link to it, at `staged`."""
    if isinstance(source, Local | Claim):
        _lay(_local(source, options.source_mount, Path.is_dir, "model directory"), staged, options)
        content = content_of(staged)
        _require_pinned(content, options)
        return content
    cache = Cache(options.cache) if options.cache else Cache(options.directory / _DOWNLOADS, patience_seconds=0)
    content = _cached(source, cache, options)
    place = cache.place_of(content.digest)
    if options.cache:
        _lay(place, staged, options)
    else:
        place.rename(staged)
        shutil.rmtree(cache.root)
    return content


def _lay(place: Path, staged: Path, options: Options) -> None:
    """Link to a claim; but copy what has to be signed, or who may write there could change it behind the signature."""
    if options.trusted_keys is None:
        staged.symlink_to(place, target_is_directory=True)
    else:
        shutil.copytree(place, staged, symlinks=True)


def _cached(source: Remote | Bucket | Repository | Artefact, cache: Cache, options: Options) -> Content:
    """Have the model in the cache, downloaded only where it must be."""
    if options.pin and (content := cache.find(options.pin)):
        return content
    if isinstance(source, Remote):
        key = hashlib.sha256(source.url.encode()).hexdigest()
        with cache.partial(key) as partial:
            return _kept(cache, key, options) or _bring(source, partial, cache, options)
    origin = _origin(source, options)
    listing = _listing(origin, options)
    key = listing.key(origin.shown)
    with cache.partial(key) as partial:
        if content := _kept(cache, key, options):
            return content
        return _keep(_transfer(origin, listing, partial, options), cache, key, options)


def _kept(cache: Cache, key: str, options: Options) -> Content | None:
    """Look again: who waited for another pod's download has it now."""
    return cache.find(options.pin) if options.pin else cache.find_listed(key)


def _keep(model: Path, cache: Cache, key: str | None, options: Options) -> Content:
    content = content_of(model)
    _require_pinned(content, options)
    cache.keep(model, content.digest, key)
    return content


def _require_pinned(content: Content, options: Options) -> None:
    if options.pin not in (None, content.digest):
        message = f"The model has the digest {content.digest}, but {options.pin} is asked for; nothing was changed."
        raise ModelError(Reason.DIGEST_MISMATCH, message)


def _require_signed(model: Path, options: Options) -> None:
    if options.trusted_keys is not None:
        hold_signature(model, options.trusted_keys)


# -- bringing it


def _origin(source: Bucket | Repository | Artefact, options: Options) -> Origin:
    """Import no more than is needed: botocore takes a moment."""
    if isinstance(source, Bucket):
        from model_server.fetch.bucket import BucketOrigin  # noqa: PLC0415

        return BucketOrigin(source, ca_file=options.ca_file, patience=options.patience)
    if isinstance(source, Repository):
        from model_server.fetch.hub import HubOrigin  # noqa: PLC0415

        return HubOrigin(source, ca_file=options.ca_file, patience=options.patience)
    from model_server.fetch.artefact import ArtefactOrigin  # noqa: PLC0415
    from model_server.fetch.registry import Registry  # noqa: PLC0415

    registry = Registry(
        source, ca_file=options.ca_file, plain_http=options.plain_http, silence_seconds=options.patience.silence_seconds
    )
    return ArtefactOrigin(source, registry)


def _listing(origin: Origin, options: Options) -> Listing:
    listing = options.patience.try_to(origin.list, origin.shown)
    require_fit(listing, origin.shown, options.max_bytes)
    return listing


def _transfer(origin: Origin, listing: Listing, partial: Path, options: Options) -> Path:
    content = transfer(origin, listing, partial, options.patience)
    packing = Packing.SINGLE_FILE if listing.is_directory else packing_of(listing.files[0].name)
    if packing is Packing.SINGLE_FILE:
        return content
    return _unpacked(content / listing.files[0].name, packing, partial, options)


def _bring(source: Remote, partial: Path, cache: Cache, options: Options) -> Content:
    """Leave nothing for another try: who knows whether the address will hold the same then."""
    with tempfile.TemporaryDirectory(dir=partial) as desk:
        content = Path(desk, "content")
        content.mkdir()
        file = content / source.filename
        download(source, file, ca_file=options.ca_file, max_bytes=options.max_bytes, patience=options.patience)
        is_archive = source.packing is not Packing.SINGLE_FILE
        model = _unpacked(file, source.packing, Path(desk), options) if is_archive else content
        return _keep(model, cache, None, options)


def _unpacked(archive: Path, packing: Packing, partial: Path, options: Options) -> Path:
    unpacked = partial / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)  # of a try that was interrupted
    unpack(archive, packing, unpacked, max_bytes=options.max_bytes)
    return model_root(unpacked)


def _local(source: Local | Claim, mount: Path, is_right: Callable[[Path], bool], what: str) -> Path:
    path = Path(source.path) if isinstance(source, Local) else mount / source.path
    if not is_right(path):
        where = "the container's file system" if isinstance(source, Local) else "the claim"
        message = f"There is no {what.rpartition(' ')[2]} {source.path} on {where}; the URI names a {what}."
        raise ModelError(Reason.NOT_FOUND, message)
    return path


# -- what the disk says


def _tell(error: OSError, options: Options) -> NoReturn:
    """Say what is wrong with the place where the model is to be."""
    if is_full(error):
        raise no_room(options.cache or options.directory) from error
    if options.cache and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        message = (
            f"The cache at {options.cache} cannot be written to by user {os.getuid()}: {error.strerror}. The claim of "
            "spec.model.cacheClaimRef needs access mode ReadWriteMany, or ReadWriteOnce where all pods are on one node."
        )
        raise ModelError(Reason.INVALID, message) from error
    raise error
