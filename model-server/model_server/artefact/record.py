"""How long a fetch took: left beside the digest, for the server to tell with its own load phases."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FETCH_SECONDS = "fetch-seconds"


def write_fetch_seconds(directory: Path, seconds: float) -> None:
    """Leave it in the directory that fetch filled."""
    (directory / FETCH_SECONDS).write_text(f"{seconds:.3f}\n", encoding="ascii")


def read_fetch_seconds(digest_file: Path | None) -> float | None:
    """Find it beside the digest file; None where nothing was fetched."""
    if digest_file is not None:
        with contextlib.suppress(OSError, ValueError):
            return float((digest_file.parent / FETCH_SECONDS).read_text(encoding="ascii"))
    return None
