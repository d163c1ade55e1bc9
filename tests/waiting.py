"""Waits for what a test expects of a cluster: until it is so, with what was seen last if it never is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE_SECONDS = 60.0


def until(
    look: Callable[[], T], what: str, *, patience: float = PATIENCE_SECONDS, details: Callable[[], object] | None = None
) -> T:
    """Call `look` until it returns something true, and return that; fail with `what` after `patience` seconds.

    An AssertionError of `look` is a "not yet", too, and is shown at the end.
    """
    end = time.monotonic() + patience
    last: object = None
    while time.monotonic() < end:
        try:
            if found := look():
                return found
            last = found
        except AssertionError as error:
            last = error
        time.sleep(0.1)  # between two looks, not instead of one
    seen = f"\n{details()}" if details else ""
    raise AssertionError(f"Waited {patience:.0f} s in vain until {what}; last seen: {last}{seen}")


async def eventually(look: Callable[[], T], *, patience: float = PATIENCE_SECONDS) -> T:
    """Let the loop go on until `look` returns something true, and return that."""
    async with asyncio.timeout(patience):
        while not (found := look()):  # noqa: ASYNC110 (what is looked at has no event to wait for)
            await asyncio.sleep(0.01)  # between two looks, not instead of one
    return found
