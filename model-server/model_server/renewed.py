"""What is read from files that somebody replaces while the server runs, as Kubernetes does with a mounted Secret."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from model_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Signs: TypeAlias = list[tuple[str, int, int, int]]

log = logging.getLogger(__name__)


class Told(Protocol):
    """Something that can be told in a line of the log."""

    def told(self) -> str:
        """Say what it is, without its secrets."""


Content = TypeVar("Content", bound=Told)


class Renewed(Generic[Content]):
    """Holds what its files said when they last made sense; raises ModelError where they do not at first."""

    def __init__(self, files: Callable[[], Iterable[Path]], read: Callable[[], Content]) -> None:
        self._files = files
        self._read = read
        self._seen = _signs(files())  # before they are read: what changes meanwhile is read once more
        self.content = read()
        self.is_newest = True
        """Whether the files still say so; False while they make no sense."""

    def look(self, *, silent: bool = False) -> None:
        """Read the files again if they have changed."""
        now = _signs(self._files())
        if now == self._seen:
            return
        self._seen = now
        try:
            self.content = self._read()
            self.is_newest = True
        except ModelError as error:
            self.is_newest = False
            if not silent:
                log.error("%s What was read before stays in force.", error.message)  # noqa: TRY400  # says all
        else:
            if not silent:
                log.info("read again: %s", self.content.told())


def _signs(files: Iterable[Path]) -> Signs:
    """Return what changes when a file is replaced or written to; a file that is not there has none."""
    signs = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            continue
        signs.append((file.name, found.st_ino, found.st_mtime_ns, found.st_size))
    return signs
