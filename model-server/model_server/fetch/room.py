"""Whether there is room for a model, and what to say where there is none."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}


def is_full(error: BaseException) -> bool:
    """Tell whether a disk or a quota is full, whatever was tried on it."""
    return isinstance(error, OSError) and error.errno in _FULL


def require_room(directory: Path, needed_bytes: int, shown: str) -> None:
    """Refuse to begin what cannot end well."""
    free_bytes = shutil.disk_usage(directory).free
    if needed_bytes > free_bytes:
        what = (
            f"{shown} needs {_megabytes(needed_bytes)}, but the volume at {directory} has {_megabytes(free_bytes)} free"
        )
        raise ModelError(Reason.NO_SPACE, f"{what}; {_REMEDY}")


def no_room(directory: Path) -> ModelError:
    """Tell of a disk that was full in the middle of it."""
    free = _megabytes(shutil.disk_usage(directory).free)
    message = f"The volume at {directory} is full ({free} free); nothing of it is used, {_REMEDY}"
    return ModelError(Reason.NO_SPACE, message)


_REMEDY = "make room there, or give it more: the limits of the pod's volumes, or the size of the claim."


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"
