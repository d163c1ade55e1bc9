"""Wait for a condition, with a deadline and a reason to give up early."""

import time
from collections.abc import Callable

from cluster.errors import ClusterError


def until(
    condition: Callable[[], bool],
    what: str,
    *,
    seconds: float,
    hopeless: Callable[[], str | None] = lambda: None,
) -> None:
    """Return when the condition holds; fail when `hopeless` says why it never will, or when the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if reason := hopeless():
            raise ClusterError(reason)
        if time.monotonic() > deadline:
            raise ClusterError(f"Waited {seconds:.0f} s in vain: {what}.")
        time.sleep(0.1)
