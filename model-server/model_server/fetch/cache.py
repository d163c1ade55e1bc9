"""Where downloads are kept: by what they are made of, so that whoever asks for the same need not download it again.

    models/sha256-…/   whole models, each under its digest
    sources/…          the digest that what a store lists turned out to have
    partial/…/         downloads that go on or were interrupted, each under the name of what its store lists

Several pods may share it, on several nodes. Only a rename makes a model appear, so a reader sees all of it or nothing.
One pod at a time downloads a listing, and the others wait for it, as far as the file system knows locks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.artefact.digest import Content, content_of
from model_server.artefact.publish import publish, reach_the_disk
from model_server.errors import ModelError, Reason
from model_server.fetch.room import is_full

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_OF_NO_USE = {Reason.DIGEST_MISMATCH, Reason.NO_SPACE}


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory for downloads. One that was interrupted is kept for so long."""

    root: Path
    patience_seconds: float = 24 * 3600.0

    @property
    def partials(self) -> Path:
        """Where downloads are under way."""
        return self.root / "partial"

    def place_of(self, digest: str) -> Path:
        """Return where the model of a digest is, or would be."""
        return self.root / "models" / digest.replace(":", "-")

    def find(self, digest: str) -> Content | None:
        """Return a model that is there and whole; one that is damaged is removed."""
        place = self.place_of(digest)
        if not place.is_dir():
            return None
        with contextlib.suppress(ModelError, FileNotFoundError):  # it may be without files, or being cleared
            content = content_of(place)
            if content.digest == digest:
                with contextlib.suppress(OSError):  # a claim may be read-only, and its model good
                    os.utime(place)  # tells who clears up when it was last asked for
                return content
        log.warning("%s is damaged; it is downloaded anew", place)
        _discard(place)
        return None

    def find_listed(self, key: str) -> Content | None:
        """Return the model that a listing turned out to be, if it is there."""
        try:
            digest = self._note_of(key).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        return self.find(digest)

    def keep(self, model: Path, digest: str, key: str | None) -> None:
        """Move a downloaded model to its place, and note what it was listed as."""
        reach_the_disk(model)
        place = self.place_of(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            model.rename(place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _discard(model)  # another pod was faster, with the same bytes
        if key is not None:
            note = self._note_of(key)
            note.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.partials) as desk:
                written = Path(desk, key)
                written.write_text(digest + "\n", encoding="ascii")
                publish(written, note)

    @contextlib.contextmanager
    def partial(self, key: str) -> Iterator[Path]:
        """Lend the directory of a download; what is in it stays when the download is interrupted, and only then."""
        self.partials.mkdir(parents=True, exist_ok=True)
        with _alone(self.partials / f"{key}.lock") as is_alone:
            self._forget_others(key)
            # Where nobody can tell who else is at it, each does it alone.
            place = self.partials / (key if is_alone else f"{key}-{os.urandom(8).hex()}")
            place.mkdir(exist_ok=True)
            try:
                yield place
            except (ModelError, OSError) as error:
                if not is_alone or is_full(error) or getattr(error, "reason", None) in _OF_NO_USE:
                    _discard(place)
                raise
            _discard(place)

    def _note_of(self, key: str) -> Path:
        return self.root / "sources" / key

    def _forget_others(self, key: str) -> None:
        """Remove what interrupted downloads left that nobody went on with; a living one records its parts."""
        for place in self.partials.iterdir():
            if place.is_dir() and place.name != key and time.time() - _last_change(place) > self.patience_seconds:
                _discard(place)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Hold a lock that ends with this process; False where the file system knows none."""
    handle = _acquired(lock)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            lock.unlink(missing_ok=True)
            os.close(handle)


def _acquired(lock: Path) -> int | None:
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another pod downloads this model already; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), lock.stat()):  # else who held it has removed it
                    return handle
            os.close(handle)
        except OSError as error:
            os.close(handle)
            if error.errno in _WITHOUT_LOCKS:
                return None
            raise


def _last_change(place: Path) -> float:
    """Return when a download last recorded something; now, where it is gone by now."""
    try:
        return max(path.stat().st_mtime for path in (place, *place.iterdir()))
    except FileNotFoundError:
        return time.time()


def _discard(directory: Path) -> None:
    """Remove a directory that others may look at: under another name first, so that they see all of it or nothing."""
    aside = directory.with_name(f".removed-{os.urandom(8).hex()}")
    with contextlib.suppress(FileNotFoundError):
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
