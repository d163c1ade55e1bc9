"""Log lines for people and for machines: one line each, and every line says which service it is about.

2026-11-21T21:10:22.123Z INFO  ml/nlp-model  engine.apply: The API server stores ...
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_subject: ContextVar[str] = ContextVar("subject", default="-")


@contextmanager
def about(subject: object) -> Iterator[None]:
    """Let each line that is logged inside, by whomever, name the service that it is about."""
    token = _subject.set(str(subject))
    try:
        yield
    finally:
        _subject.reset(token)


class Formatter(logging.Formatter):
    """Time, level, subject, source, message: always these five, so that `awk` and `grep` are enough."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, and a traceback after it where there is one."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        source = record.name.removeprefix("modelservice_operator.")
        line = (
            f"{moment}.{int(record.msecs):03}Z {record.levelname:<7} {_subject.get()} {source}: {record.getMessage()}"
        )
        line = line.replace("\n", "\\n")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure() -> None:
    """Send all logging to standard error in this format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
