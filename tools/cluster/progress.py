"""Progress lines with times, on stderr: stdout belongs to answers."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_STARTED = time.monotonic()


def say(text: str) -> None:
    """Print one line with the seconds since the tool was started."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(doing: str) -> Iterator[None]:
    """Tell what is being done, and how long it took; a failure tells itself."""
    say(doing)
    began = time.monotonic()
    yield
    say(f"{doing}: done in {time.monotonic() - began:.1f} s")
