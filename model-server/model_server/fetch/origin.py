"""What can be asked of a store that holds a model file by file, and what is held against its answers."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from model_server.artefact.digest import require_plain
from model_server.errors import ModelError, Reason
from model_server.fetch.unpack import MAX_ENTRIES

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class File:
    """A file as its store lists it. `version` is the store's name for its content: another content has another."""

    name: str
    size: int
    version: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a URI stands for: a directory of files, or one file."""

    files: tuple[File, ...]
    is_directory: bool

    @property
    def size_bytes(self) -> int:
        """All bytes together."""
        return sum(file.size for file in self.files)

    def key(self, shown: str) -> str:
        """Return a name for exactly these contents, as far as their store tells them apart."""
        lines = [f"{shown}\n", *(f"{file.size} {file.version} {file.name}\n" for file in self.files)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a store says that the bytes of a file add up to, in hexadecimal digits."""

    algorithm: str  # sha256, md5, crc32, or git: the name of a blob
    value: str

    def holds(self, path: Path) -> bool:
        """Tell whether a file is what the store says."""
        return _sum(path, self.algorithm) == self.value


class Body(Protocol):
    """Bytes on their way."""

    def read(self, size: int, /) -> bytes:
        """Return some, none at the end."""
        ...


class Origin(Protocol):
    """A store. What it refuses is a ModelError, what is worth another try a TransientError."""

    shown: str

    def list(self) -> Listing:
        """Say what there is to bring; nothing is a ModelError."""
        ...

    def read(self, file: File, start: int, stop: int) -> AbstractContextManager[Body]:
        """Open some bytes of the version that was listed."""
        ...

    def checksum(self, file: File) -> Checksum | None:
        """Return what the store knows of the content, if it knows anything."""
        ...


def skip(body: Body, count: int) -> None:
    """Read past the beginning, which a server sends that ignores ranges."""
    while count and (block := body.read(min(_BLOCK_BYTES, count))):
        count -= len(block)


def require_fit(listing: Listing, shown: str, max_bytes: int) -> None:
    """Refuse what cannot become a model directory before any of it is downloaded."""
    if len(listing.files) > MAX_ENTRIES:
        raise ModelError(
            Reason.INVALID, f"{shown} holds more than {MAX_ENTRIES} files; the URI names a model directory."
        )
    if listing.size_bytes > max_bytes:
        message = f"{shown} holds {listing.size_bytes} bytes, more than the {max_bytes} that --max-bytes allows."
        raise ModelError(Reason.INVALID, message)
    names = {file.name for file in listing.files}
    if len(names) < len(listing.files):
        raise ModelError(Reason.INVALID, f"{shown} holds two files of one name.")
    for name in names:
        require_plain(name)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
            raise ModelError(Reason.INVALID, f"{shown} holds {name!r}, which is no path of a file; rename it.")
        if clash := next((str(above) for above in path.parents if str(above) in names), None):
            message = f"{shown} holds both {clash!r} and {name!r}; on a disk a file is no directory, rename one."
            raise ModelError(Reason.INVALID, message)


def _sum(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        match algorithm:
            case "crc32":
                crc = 0
                while block := file.read(_BLOCK_BYTES):
                    crc = zlib.crc32(block, crc)
                return f"{crc:08x}"
            case "git":
                digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
                return digest.hexdigest()
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
