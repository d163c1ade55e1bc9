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

    is_alive: Callable[[], bool]
    others_are_ready: Callable[[], bool] = lambda: True  # the processes that share the port
    phase: Phase = Phase.LOADING

    @property
    def live(self) -> bool:
        """A restart would not help: the loop answers (or nobody could ask) and the model's thread runs."""
        return self.is_alive()

    @property
    def ready(self) -> bool:
        """New requests should come here. While draining they are still served, but should go elsewhere."""
        return self.phase is Phase.READY and self.live and self.others_are_ready()

    @property
    def shown(self) -> Phase:
        """The phase as it is told: a server that lacks one of its processes is loading again."""
        return Phase.LOADING if self.phase is Phase.READY and not self.ready else self.phase
