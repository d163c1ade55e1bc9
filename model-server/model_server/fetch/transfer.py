"""Bring the files of a model in parts, several at a time, and go on where an earlier try was interrupted.

A part is recorded as done only when its bytes have reached the disk, so what the record says holds after a crash too.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from model_server.errors import ModelError, Reason
from model_server.fetch.patience import TransientError
from model_server.fetch.room import require_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from model_server.fetch.origin import Body, File, Listing, Origin
    from model_server.fetch.patience import Patience

log = logging.getLogger(__name__)

THREADS = 8
PART_BYTES = 16 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
_PROGRESS_SECONDS = 5.0
_CONTENT = "content"
_DONE = "done"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Part:
    file: File
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.start} {self.file.name}"


def transfer(origin: Origin, listing: Listing, place: Path, patience: Patience) -> Path:
    """Bring all files into a directory of `place` and return that. `place` is for this listing alone."""
    content, record = place / _CONTENT, place / _DONE
    if not content.exists():  # an earlier try had all, and was interrupted when it put it elsewhere
        record.unlink(missing_ok=True)
    for file in listing.files:
        (content / file.name).parent.mkdir(parents=True, exist_ok=True)
        (content / file.name).touch()
    done = set(record.read_text(encoding="utf-8").splitlines()) if record.exists() else set()
    parts = [part for file in listing.files for part in _parts(file)]
    missing = [part for part in parts if str(part) not in done]
    require_room(place, sum(part.stop - part.start for part in missing), origin.shown)
    if done:
        log.info("%s: going on with %d of %d parts", origin.shown, len(missing), len(parts))
    with record.open("a", encoding="utf-8", buffering=1) as recorder:
        progress = _Progress(origin.shown, sum(part.stop - part.start for part in missing))

        def bring(part: _Part) -> None:
            _bring(origin, part, content / part.file.name, patience, progress)
            recorder.write(f"{part}\n")

        _in_parallel(bring, missing)
    wrong: list[str] = []

    def check(file: File) -> None:
        path = content / file.name
        checksum = patience.try_to(lambda: origin.checksum(file), origin.shown)
        if path.stat().st_size != file.size or not (checksum is None or checksum.holds(path)):
            wrong.append(file.name)

    _in_parallel(check, listing.files)
    if wrong:
        message = (
            f"{origin.shown} was not received as it is in its store: {min(wrong)} has another checksum; nothing of it "
            "is used, the next try downloads it anew."
        )
        raise ModelError(Reason.DIGEST_MISMATCH, message)
    return content


def _parts(file: File) -> Iterator[_Part]:
    for start in range(0, file.size, PART_BYTES):
        yield _Part(file, start, min(start + PART_BYTES, file.size))


def _bring(origin: Origin, part: _Part, path: Path, patience: Patience, progress: _Progress) -> None:
    """Write one part to its place in the file; a try goes on at the byte where the last one broke off."""
    at, attempt = part.start, 0
    handle = os.open(path, os.O_WRONLY)
    try:
        while at < part.stop:
            begun = at
            try:
                with origin.read(part.file, at, part.stop) as body:
                    for block in _blocks(body, part, at):
                        os.pwrite(handle, block, at)
                        at += len(block)
                        progress.add(len(block))
            except TransientError as error:
                attempt = 1 if at > begun else attempt + 1
                patience.wait(origin.shown, attempt, error)
        os.fdatasync(handle)
    finally:
        os.close(handle)


def _blocks(body: Body, part: _Part, at: int) -> Iterator[bytes]:
    """Read to the end of the part, and no further."""
    while at < part.stop:
        block = body.read(min(_BLOCK_BYTES, part.stop - at))
        if not block:
            message = f"the connection broke after {at} of {part.file.size} bytes of {part.file.name}"
            raise TransientError(message)
        yield block
        at += len(block)


class _Progress:
    """Says now and then how much is here."""

    def __init__(self, shown: str, expected: int) -> None:
        self._shown = shown
        self._expected = expected
        self._received = 0
        self._told_at = time.monotonic()
        self._lock = threading.Lock()

    def add(self, received: int) -> None:
        """Count bytes that have come."""
        with self._lock:
            self._received += received
            if time.monotonic() - self._told_at > _PROGRESS_SECONDS:
                self._told_at = time.monotonic()
                log.info("%s: %.0f of %.0f MB", self._shown, self._received / 1e6, self._expected / 1e6)


def _in_parallel(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do all of the work, or raise the first error.

    The threads are daemons, unlike those of an executor: a fetch that is asked to end need not wait for the network.
    """
    waiting = list(items)[::-1]
    errors: list[BaseException] = []

    def worker() -> None:
        while waiting and not errors:
            try:
                item = waiting.pop()
            except IndexError:  # another thread took the last one
                return
            try:
                work(item)
            except BaseException as error:  # noqa: BLE001  # raised again by who waits
                errors.append(error)

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(THREADS, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
