"""Digests over what goes into an image: equal digests mean that there is nothing to build."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

# What editors, linters and Python itself leave in a source folder; the folders' .dockerignore files say the same.
_NOT_SOURCE = ("__pycache__", ".egg-info", ".mypy_cache", ".ruff_cache", ".pytest_cache", "build", "dist")


def digest_of(*texts: str) -> str:
    """Digest a list of texts; where one ends and the next begins counts."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()


def sources(folder: Path) -> Iterator[Path]:
    """Yield the files of a build context in a stable order."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.endswith(_NOT_SOURCE) for part in parts):
            yield path


def digest_of_folder(folder: Path) -> str:
    """Digest names, executable bits and contents of a build context."""
    texts: list[str] = []
    for path in sources(folder):
        executable = "x" if path.stat().st_mode & 0o111 else "-"
        texts += [str(path.relative_to(folder)), executable, hashlib.sha256(path.read_bytes()).hexdigest()]
    return digest_of(*texts)
