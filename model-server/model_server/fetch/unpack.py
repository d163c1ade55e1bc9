"""Open an archive that nobody has vouched for yet: plain files and directories only, all inside, within limits."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from model_server.errors import ModelError, Reason
from model_server.fetch.room import is_full
from model_server.fetch.source import Packing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_ENTRIES = 10_000
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive; `oddity` names what is neither file nor directory."""

    name: str
    is_directory: bool
    oddity: str | None
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, packing: Packing, target: Path, *, max_bytes: int) -> None:
    """Unpack into the (new) target directory."""
    entries = _tar_entries if packing is Packing.TAR else _zip_entries
    target.mkdir()
    left = max_bytes
    try:
        for count, entry in enumerate(entries(archive), start=1):
            if count > MAX_ENTRIES:
                raise _unsafe(f"it holds more than {MAX_ENTRIES} entries")
            left -= _place(entry, target, left)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        if is_full(error):
            raise
        raise ModelError(Reason.INVALID, f"The archive {archive.name} cannot be unpacked: {error}.") from error


def model_root(unpacked: Path) -> Path:
    """Find the model in what was unpacked: an archive of one directory means that directory."""
    inside = list(unpacked.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else unpacked


def _place(entry: Entry, target: Path, max_bytes: int) -> int:
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.name or "\0" in entry.name:
        raise _unsafe(f"the entry {entry.name!r} points out of it")
    if entry.oddity is not None:
        raise _unsafe(f"the entry {entry.name!r} is {entry.oddity}")
    place = target / path
    if entry.is_directory:
        place.mkdir(parents=True, exist_ok=True)
        return 0
    place.parent.mkdir(parents=True, exist_ok=True)
    source = entry.open()
    if source is None:
        raise _unsafe(f"the entry {entry.name!r} has no content")
    with source, place.open("xb") as file:  # x: an archive that names a file twice is refused
        return _copy(source, file, max_bytes)


def _copy(source: IO[bytes], file: IO[bytes], max_bytes: int) -> int:
    size = 0
    while chunk := source.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > max_bytes:  # counted as it unpacks: sizes that an archive states may be lies
            raise _unsafe("it unpacks to more bytes than --max-bytes allows")
        file.write(chunk)
    return size


def _tar_entries(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive) as tar:
        for member in tar:
            oddity = None
            if member.issym() or member.islnk():
                oddity = "a link"
            elif not (member.isreg() or member.isdir()):
                oddity = "a device or a pipe"
            yield Entry(member.name, member.isdir(), oddity, partial(tar.extractfile, member))


def _zip_entries(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            oddity = None
            if info.flag_bits & 1:
                oddity = "encrypted"
            elif kind == stat.S_IFLNK:
                oddity = "a link"
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                oddity = "a device or a pipe"
            yield Entry(info.filename, info.is_dir(), oddity, partial(packed.open, info))


def _unsafe(why: str) -> ModelError:
    return ModelError(Reason.INVALID, f"The archive is refused: {why}.")
