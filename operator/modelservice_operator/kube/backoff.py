"""How long to wait after the n-th failure in a row."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with jitter, so that what failed together does not come back together."""

    first_seconds: float
    most_seconds: float
    jitter: float = 0.2
    """The share by which a wait may be shorter or longer."""

    def seconds(self, failures: int, *, draw: float | None = None) -> float:
        """Give the wait after so many failures in a row; `draw` (0 to 1) stands in for chance."""
        if failures <= 0:
            return 0.0
        # The exponent is bounded because 2.0**1024 overflows, and an outage may well bring us there.
        wait = min(self.first_seconds * 2.0 ** min(failures - 1, 64), self.most_seconds)
        chance = random.random() if draw is None else draw  # noqa: S311 (no secret depends on it)
        return wait * (1 + self.jitter * (2 * chance - 1))
