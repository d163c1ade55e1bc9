"""A thread that runs the model, so that the event loop keeps answering while torch computes."""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")
_PATIENCE_SECONDS = 0.5


class Executor:
    """Runs one piece of work after the other and hands each result back on the loop.

    Not the loop's default executor: that is shared with name look-ups and grows threads. The thread is a daemon, so
    a forward pass that never ends cannot hold up the exit.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str = "model") -> None:
        self._loop = loop
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run `work` in the thread and then `done` with its result on the loop; `work` must not raise."""
        self._work.put(lambda: self._hand_back(done, work()))

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread and wait for it; what it raises is raised here."""
        result: asyncio.Future[T] = self._loop.create_future()
        self._work.put(lambda: self._settle(result, work))
        return await result

    def is_alive(self) -> bool:
        """Say whether there is anyone to run anything."""
        return self._thread.is_alive()

    def stop(self) -> bool:
        """Let the thread end; False when it is still busy after a moment."""
        self._work.put(None)
        self._thread.join(_PATIENCE_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            job()

    def _hand_back(self, done: Callable[[T], None], result: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for the result
            self._loop.call_soon_threadsafe(done, result)

    def _settle(self, future: asyncio.Future[T], work: Callable[[], T]) -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # raised again where it is awaited
            self._hand_back(partial(_settle_once, future.set_exception, future), error)
        else:
            self._hand_back(partial(_settle_once, future.set_result, future), result)


def _settle_once(settle: Callable[[T], None], future: asyncio.Future[Any], value: T) -> None:
    if not future.cancelled():  # who waited may have been told to stop
        settle(value)
