"""The digest of a model directory, which coreutils can reproduce.

It is the SHA-256 of the text that this prints, with `sha256:` before it:

    cd DIR && find . -type f | LC_ALL=C sort | xargs sha256sum

Links are refused rather than followed: what a digest does not cover must not be loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# xargs splits at these, and sha256sum escapes backslashes: the digest would not be reproducible.
_AWKWARD = re.compile(r"[\s'\"\\]")


@dataclass(frozen=True, slots=True)
class Content:
    """What a directory holds, in three numbers."""

    digest: str
    files: int
    size_bytes: int


def parse_digest(text: str) -> str:
    """Check how a digest is written."""
    if not _DIGEST.fullmatch(text):
        message = f"The digest {text!r} is malformed: write sha256: and 64 lower-case hexadecimal digits."
        raise ModelError(Reason.INVALID, message)
    return text


def require_plain(name: str) -> None:
    """Refuse names of files that would make a digest impossible to reproduce."""
    if _AWKWARD.search(name):
        message = f"The file name {name!r} has blanks, quotes or backslashes, which digests do not cover; rename it."
        raise ModelError(Reason.INVALID, message)


def content_of(directory: Path) -> Content:
    """Read every file of a directory and name what it holds."""
    lines = []
    size_bytes = 0
    for name, path in sorted(_files(directory, "."), key=lambda file: os.fsencode(file[0])):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
            size_bytes += file.tell()
    if not lines:
        raise ModelError(Reason.INVALID, f"{directory} holds no files.")
    text = "".join(lines).encode("utf-8", "surrogateescape")
    return Content("sha256:" + hashlib.sha256(text).hexdigest(), len(lines), size_bytes)


def files_of(directory: Path) -> dict[str, Path]:
    """Return every file of a directory by its name there; refuse what no digest covers."""
    return {name.removeprefix("./"): path for name, path in _files(directory, ".")}


def _files(directory: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for path in directory.iterdir():
        name = f"{prefix}/{path.name}"
        require_plain(path.name)
        if path.is_symlink():
            message = f"{name} is a link, which digests do not cover; put the file itself in its place."
            raise ModelError(Reason.INVALID, message)
        if path.is_dir():
            yield from _files(path, name)
        elif path.is_file():
            yield name, path
        else:
            raise ModelError(Reason.INVALID, f"{name} is neither a file nor a directory; remove it.")
