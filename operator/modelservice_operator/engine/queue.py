"""The work queue: which key is to be looked at next.

A key is in it at most once, however often it is added; it is in the hands of at most one worker; and a key that is
added while a worker has it comes round once more. That is all that level-triggered work needs, as in client-go.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from modelservice_operator.kube.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")

_RETRY: Final = Backoff(first_seconds=0.25, most_seconds=300)


class Priority(IntEnum):
    """Who wants the key looked at. The lower value goes first, so that a restart storm delays no user."""

    USER = 0
    CHILD = 1
    RESYNC = 2


@dataclass(frozen=True, slots=True)
class _Later:
    due: float
    priority: Priority


class WorkQueue(Generic[K]):
    """A queue of keys for several workers on one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, backoff: Backoff = _RETRY) -> None:
        self._clock = clock
        self._backoff = backoff
        self._order = itertools.count()
        self._ready: list[tuple[Priority, int, K]] = []  # a heap; an entry counts only if `_waiting` agrees
        self._waiting: dict[K, tuple[Priority, float]] = {}  # what is to be handed out, and since when
        self._held: dict[K, float] = {}  # in a worker's hands, and since when
        self._again: dict[K, Priority] = {}  # added while in a worker's hands
        self._later: dict[K, _Later] = {}
        self._due: list[tuple[float, int, K]] = []  # a heap; an entry counts only if `_later` agrees
        self._failures: dict[K, int] = {}
        self._closed = False
        self._changed = asyncio.Event()

    def add(self, key: K, priority: Priority) -> None:
        """Have a key looked at as soon as a worker is free."""
        if self._closed:
            return
        if key in self._held:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        known = self._waiting.get(key)
        if known is None or priority < known[0]:
            self._waiting[key] = (priority, self._clock() if known is None else known[1])
            heapq.heappush(self._ready, (priority, next(self._order), key))
            self._changed.set()

    def add_after(self, key: K, seconds: float, priority: Priority = Priority.RESYNC) -> None:
        """Have a key looked at after a while; of several such wishes the earliest counts.

        Handing the key out fulfils them all: whoever looks at it says anew when to look again.
        """
        if seconds <= 0:
            self.add(key, priority)
            return
        due = self._clock() + seconds
        known = self._later.get(key)
        if not self._closed and (known is None or due < known.due):
            self._later[key] = _Later(due, priority)
            heapq.heappush(self._due, (due, next(self._order), key))
            self._changed.set()

    def retry(self, key: K, *, at_least: float = 0.0, at_most: float = math.inf) -> float:
        """Have a key that failed looked at again, later with each failure in a row; return the seconds until then."""
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = max(min(self._backoff.seconds(self._failures[key]), at_most), at_least)
        self.add_after(key, seconds, Priority.CHILD)
        return seconds

    def forget(self, key: K) -> None:
        """Forget the failures of a key that went well."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Hand out the next key as soon as there is one; the caller must call `done` with it."""
        while (key := self.take()) is None:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_until_due()):
                    await self._changed.wait()
        return key

    def take(self) -> K | None:
        """Hand out the next key if there is one at this moment; the caller must call `done` with it."""
        self._release_what_is_due()
        while self._ready and not self._closed:
            priority, _, key = heapq.heappop(self._ready)
            if key in self._waiting and self._waiting[key][0] == priority:
                del self._waiting[key]
                self._later.pop(key, None)
                self._held[key] = self._clock()
                return key
        return None

    def done(self, key: K) -> None:
        """Take a key back from its worker."""
        del self._held[key]
        if (priority := self._again.pop(key, None)) is not None:
            self.add(key, priority)
        self._changed.set()

    def close(self) -> None:
        """Hand out no more keys: who waits for one, waits for ever."""
        self._closed = True

    async def drained(self) -> None:
        """Wait until no worker holds a key any more."""
        while self._held:
            self._changed.clear()
            await self._changed.wait()

    # -- what the metrics show

    @property
    def depth(self) -> int:
        """The number of keys that wait for a worker."""
        return len(self._waiting)

    @property
    def longest_wait_seconds(self) -> float:
        """How long the key that waits longest has waited."""
        return max((self._clock() - since for _, since in self._waiting.values()), default=0.0)

    @property
    def longest_work_seconds(self) -> float:
        """How long the key that has been in a worker's hands longest has been there."""
        return max((self._clock() - since for since in self._held.values()), default=0.0)

    # -- inside

    def _release_what_is_due(self) -> None:
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            due, _, key = heapq.heappop(self._due)
            later = self._later.get(key)
            if later is not None and later.due == due:
                del self._later[key]
                self.add(key, later.priority)

    def _seconds_until_due(self) -> float | None:
        return max(self._due[0][0] - self._clock(), 0.0) if self._due and not self._closed else None
