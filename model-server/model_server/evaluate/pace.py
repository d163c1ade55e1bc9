"""How fast a model answers: alone, and many at once, one row in a request. Whoever decides when to stop is pure."""

from __future__ import annotations

import http.client
import math
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from model_server.cgroup import cpu_limit
from model_server.evaluate.endpoint import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from model_server.evaluate.endpoint import Line
    from model_server.evaluate.wire import Request

T = TypeVar("T")

WARM_UP_REQUESTS = 10
FEWEST_REQUESTS, MOST_REQUESTS, ALONE_SECONDS = 100, 500, 10.0  # below 100 there is no 99th percentile

STEP = 0.1  # throughput that grows by less has stopped growing
MOST_CONCURRENCY = 256
LEVEL_SECONDS, LONGEST_LEVEL_SECONDS, LEVEL_REQUESTS = 2.0, 10.0, 50
_OWN_CPU_SHARE = 0.8
_OVERLOADED = (*FULL, HTTPStatus.GATEWAY_TIMEOUT)


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Return the time in which that many percent of the requests were answered: one that was measured, no mean."""
    return sorted(seconds)[math.ceil(len(seconds) * percent / 100) - 1]


def latencies(seconds_of: Callable[[T], float], requests: Sequence[T]) -> list[float]:
    """Time one request after the other, once it is warm."""
    for number in range(WARM_UP_REQUESTS):
        seconds_of(requests[number % len(requests)])
    seconds: list[float] = []
    started = time.monotonic()
    while len(seconds) < FEWEST_REQUESTS or (
        len(seconds) < MOST_REQUESTS and time.monotonic() - started < ALONE_SECONDS
    ):
        seconds.append(seconds_of(requests[len(seconds) % len(requests)]))
    return seconds


# -- many at once


@dataclass(frozen=True, slots=True)
class Level:
    """So many requests were always on their way, and so many a second were answered."""

    concurrency: int
    per_second: float
    was_refused: bool = False  # the server turned requests away
    is_ours: bool = False  # the evaluation itself had no CPU time left: the figure is its own, not the model's


@dataclass(frozen=True, slots=True)
class Saturation:
    """The fewest requests in flight that bring, but for a step, all that more of them bring, and how much that is."""

    concurrency: int
    per_second: float


def next_concurrency(levels: Sequence[Level]) -> int | None:
    """Double, until two doublings together brought less than a step."""
    if not levels:
        return 1
    last = levels[-1]
    if last.was_refused or last.is_ours or last.concurrency == MOST_CONCURRENCY:
        return None
    before = max((level.per_second for level in levels[:-2]), default=0.0)
    if max(level.per_second for level in levels[-2:]) < before * (1 + STEP):
        return None
    return 2 * last.concurrency


def saturation(levels: Sequence[Level]) -> Saturation | None:
    """Find it, if it was the model that stopped growing and not who asks."""
    held = [level for level in levels if not level.was_refused]
    if not held or any(level.is_ours for level in held):
        return None
    most = max(level.per_second for level in held)
    return Saturation(next(level.concurrency for level in held if level.per_second * (1 + STEP) >= most), most)


def sweep(open_line: Callable[[], Line], requests: Sequence[Request]) -> list[Level]:
    """Measure level after level, each with connections that are kept."""
    lines: list[Line] = []
    levels: list[Level] = []
    while (concurrency := next_concurrency(levels)) is not None:
        lines += [open_line() for _ in range(concurrency - len(lines))]
        levels.append(_Crowd(lines, requests).measure())
    for line in lines:
        line.close()
    return levels


class _Crowd:
    """Threads that each send one request after the other, for a while."""

    def __init__(self, lines: Sequence[Line], requests: Sequence[Request]) -> None:
        self._lines = lines
        self._requests = requests
        self._all_here = threading.Barrier(len(lines), self._begin)
        self._started, self._cpu = 0.0, 0.0
        self._answered = [0] * len(lines)
        self._was_refused = False
        self._errors: list[BaseException] = []

    def measure(self) -> Level:
        """Let all send, and count until the last one is answered, so that a batch is counted as a whole."""
        threads = [threading.Thread(target=self._guarded, args=(at,), daemon=True) for at in range(len(self._lines))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
        passed = time.monotonic() - self._started
        is_ours = time.process_time() - self._cpu >= passed * _OWN_CPU_SHARE * min(1.0, cpu_limit() or 1.0)
        return Level(len(self._lines), sum(self._answered) / passed, self._was_refused, is_ours)

    def _begin(self) -> None:
        self._started, self._cpu = time.monotonic(), time.process_time()

    def _guarded(self, at: int) -> None:
        """Whatever ends one of them ends all."""
        try:
            if not self._work(at):
                self._was_refused = True
                self._all_here.abort()
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # noqa: BLE001  # raised again by who waits
            self._errors.append(error)
            self._all_here.abort()

    def _work(self, at: int) -> bool:
        requests = self._turns(at)
        if not self._is_answered(at, next(requests)):  # one more than is counted, until all are on their way
            return False
        self._all_here.wait()
        while not self._is_over(time.monotonic() - self._started):
            if not self._is_answered(at, next(requests)):
                return False
            self._answered[at] += 1
        return True

    def _turns(self, at: int) -> Iterator[Request]:
        return (self._requests[number % len(self._requests)] for number in count(at))

    def _is_over(self, passed: float) -> bool:
        is_enough = passed >= LEVEL_SECONDS and sum(self._answered) >= LEVEL_REQUESTS
        return is_enough or passed >= LONGEST_LEVEL_SECONDS or self._was_refused or bool(self._errors)

    def _is_answered(self, at: int, request: Request) -> bool:
        """Send a request; a server that has too many of them already is no error here, it is what is looked for."""
        line = self._lines[at]
        try:
            reply = line.infer(request)
        except TimeoutError:
            return False
        except (ConnectionError, http.client.HTTPException):  # a kept connection may end at any time
            reply = line.offer(request)
        if reply.status in _OVERLOADED:
            return False
        if reply.status != HTTPStatus.OK:
            line.refuse(reply)
        return True
