"""A directory of this machine or of a mounted claim: written beside its place, then moved there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.artefact.digest import content_of
from model_server.artefact.publish import publish, staging
from model_server.errors import ModelError, Reason
from model_server.fetch.source import Claim, Local
from model_server.push.options import occupied

if TYPE_CHECKING:
    from model_server.push.options import Options


def put_directory(directory: Path, digest: str, target: Local | Claim, options: Options) -> bool:
    """Copy the files; False where they are there already."""
    place = Path(target.path) if isinstance(target, Local) else options.source_mount / target.path
    if isinstance(target, Claim) and not options.source_mount.is_dir():
        message = f"The claim is not mounted at {options.source_mount} here; say where it is (--source-mount)."
        raise ModelError(Reason.NOT_FOUND, message)
    if place.exists():
        there = content_of(place).digest if place.is_dir() and any(place.iterdir()) else ""
        if there == digest:
            return False
        if not options.force:
            raise occupied(str(place), f"it holds {f'the model {there}' if there else 'something else'}")
    try:
        with staging(place.parent) as desk:
            staged = desk / place.name
            shutil.copytree(directory, staged)
            publish(staged, place)
    except OSError as error:
        message = f"{place} cannot be written to: {error.strerror or error}."
        raise ModelError(Reason.REFUSED, message) from error
    return True
