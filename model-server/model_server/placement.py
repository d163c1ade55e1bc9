"""Where a batch runs: on the event loop while the model is quick, else in the model's thread.

To hand a batch to the thread and its outcomes back costs more than a small model's forward pass, and the two threads
then compete for the interpreter (measured, a perceptron of 10-20-10: 90 instead of 120 µs at one connection, and 31,000
instead of 26,000 requests per second of CPU time at 64). But what runs on the loop holds up everybody else, so a batch
runs there only while passes have been short of late, and none of its size has been long.
"""

from __future__ import annotations

SHORT_SECONDS = 200e-6
_WEIGHT = 1 / 8  # of the newest pass
# A pass counts for no more than this. One that had to wait for a CPU says nothing of the model: its size is tried once
# more in the thread, and that is all; two in a row leave the loop.
_MOST_SECONDS = 5 * SHORT_SECONDS


class Placement:
    """Learns from the time of each pass; a `size` is the number of values that went in."""

    __slots__ = ("_average", "_proven")

    def __init__(self) -> None:
        self._average: float | None = None
        self._proven = 0  # passes up to this size were short

    def on_loop(self, size: int) -> bool:
        """Say whether a batch may hold up the loop."""
        return self._average is not None and self._average <= SHORT_SECONDS and size <= self._proven

    def observe(self, seconds: float, size: int) -> None:
        """Learn from a pass, wherever it ran."""
        counted = min(seconds, _MOST_SECONDS)
        self._average = counted if self._average is None else self._average + _WEIGHT * (counted - self._average)
        if seconds <= SHORT_SECONDS:
            self._proven = max(self._proven, size)
        else:
            self._proven = min(self._proven, size - 1)
