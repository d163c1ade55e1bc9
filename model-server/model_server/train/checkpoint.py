"""What a killed training needs to go on as if nothing had been: a file beside the output, gone when that is written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.train.options import Options
    from model_server.train.table import Table

State = dict[str, Any]


def key_of(table: Table, options: Options) -> str:
    """Name a training: another table or other options are another one."""
    named = hashlib.sha256(repr((astuple(options), table.columns, table.labels, table.x.shape)).encode())
    named.update(table.x.tobytes())
    named.update(table.y.tobytes())
    return named.hexdigest()


class Checkpoint:
    """One file. Of another training it is not believed, and of a crash in the middle of writing nothing is seen."""

    def __init__(self, out: Path, key: str, every_seconds: float) -> None:
        self.path = out.absolute().with_name(f".{out.name}.checkpoint")
        self._key = key
        self._every_seconds = every_seconds
        self._written = time.monotonic()

    def read(self) -> State:
        """Return what was kept last; nothing where there is none."""
        with contextlib.suppress(Exception):  # there is none, or a broken one, which fails in many ways
            state: State = torch.load(self.path, weights_only=True)
            if state.pop("key") == self._key:
                return state
        return {}

    def keep(self, state: Callable[[], State]) -> None:
        """Write, unless that was a moment ago."""
        if time.monotonic() - self._written >= self._every_seconds:
            self.write(state())

    def write(self, state: State) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(self.path.name + ".new")
        with unfinished.open("wb") as file:
            torch.save({**state, "key": self._key}, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path)
        self._written = time.monotonic()

    def remove(self) -> None:
        """Leave nothing."""
        self.path.unlink(missing_ok=True)
