"""Put a finished directory in its place, so that a reader sees all of it or none of it, also after a crash."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAGED = ".staged-"


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Lend a directory beside the target, and leave nothing of it behind, nor of one that a killed run left."""
    parent.mkdir(parents=True, exist_ok=True)
    for leftover in parent.glob(_STAGED + "*"):
        shutil.rmtree(leftover)
    place = Path(tempfile.mkdtemp(prefix=_STAGED, dir=parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def publish(staged: Path, target: Path) -> None:
    """Move what was staged (directory, file or link) to the target; what was there before leaves with the staging."""
    if staged.is_file():
        _sync(staged)
    elif not staged.is_symlink():
        reach_the_disk(staged)
    if target.exists() or target.is_symlink():
        target.rename(staged.parent / f"{target.name}-replaced")  # a full directory cannot be renamed over
    staged.rename(target)
    _sync(target.parent)


def reach_the_disk(tree: Path) -> None:
    """Have a tree survive a crash of the machine, readable for all."""
    for directory, _, files in os.walk(tree):
        # mkdtemp and safetensors write for their owner only; who fetches and who serves may be different users
        Path(directory).chmod(0o755)
        for name in files:
            Path(directory, name).chmod(0o644)
            _sync(Path(directory, name))
        _sync(Path(directory))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
