"""A Secret as the kubelet mounts it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def mount_secret(directory: Path, keys: Mapping[str, str]) -> Path:
    """Write one, or another version of it, in the kubelet's order.

    The new version in a folder of its own, then the link `..data` to it in the place of the one before, then the links
    of keys that are new, then away with those that are not there any more, and with the version before.
    """
    directory.mkdir(parents=True, exist_ok=True)
    before = {file.name for file in directory.iterdir() if not file.name.startswith("..")}
    replaced = (directory / "..data").resolve()
    folder = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    for name, value in keys.items():
        (folder / name).write_text(value)
    link = directory / "..data_tmp"
    link.symlink_to(folder.name)
    link.rename(directory / "..data")
    for name in keys.keys() - before:
        (directory / name).symlink_to(f"..data/{name}")
    for name in before - keys.keys():
        (directory / name).unlink()
    if before:
        shutil.rmtree(replaced)
    return directory
