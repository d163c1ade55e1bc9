"""Where the server is in its life, and what it therefore tells probes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Phase(StrEnum):
    """The stations of a server's life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


@dataclass(slots=True)
class Health:
    """The one mutable fact about the process; lifecycle changes it, handlers read it."""

    executor_is_alive: Callable[[], bool]
    phase: Phase = Phase.LOADING

    @property
    def live(self) -> bool:
        """A restart would not help: the loop answers (or nobody could ask) and the model's thread runs."""
        return self.executor_is_alive()

    @property
    def ready(self) -> bool:
        """New requests should come here. While draining they are still served, but should go elsewhere."""
        return self.phase is Phase.READY and self.live
