"""How long a fetch waits for servers that are down."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

T = TypeVar("T")


class TransientError(Exception):
    """It may work when tried again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may be silent, and how often and in which steps it is asked again."""

    silence_seconds: float = 30.0
    attempts: int = 5
    first_pause_seconds: float = 1.0
    what: str = "downloaded"

    def try_to(self, act: Callable[[], T], shown: str) -> T:
        """Do what may fail for a while."""
        attempt = 1
        while True:
            try:
                return act()
            except TransientError as error:
                self.wait(shown, attempt, error)
                attempt += 1

    def wait(self, shown: str, attempt: int, error: TransientError) -> None:
        """Pause after the failure of an attempt (from 1), or give up after the last."""
        if attempt == self.attempts:
            message = f"{shown} could not be {self.what} in {attempt} attempts: {error}."
            raise ModelError(Reason.UNREACHABLE, message) from error
        pause = self._pause_seconds(attempt)
        log.warning("%s: %s; trying again in %.1f s", shown, error, pause)
        time.sleep(pause)

    def _pause_seconds(self, attempt: int) -> float:
        """Double the pause each time, and spread it, so that the pods of one rollout do not come back together."""
        return self.first_pause_seconds * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311  # no secret
