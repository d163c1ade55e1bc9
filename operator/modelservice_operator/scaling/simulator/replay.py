"""Replays a trace against a service under an autoscaler, event by event. The same seed gives the same result."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from modelservice_operator.scaling.simulator.service import Result, Signal

if TYPE_CHECKING:
    from modelservice_operator.scaling.simulator.service import Autoscaler, Service, Trace


@dataclass(eq=False, slots=True)
class _Replica:
    """A pod with its accelerator."""

    created: float
    is_ready: bool = False
    is_leaving: bool = False
    running: int = 0
    queue: deque[tuple[float, float]] = field(default_factory=deque)


def replay(trace: Trace, service: Service, autoscaler: Autoscaler, *, replicas: int, seed: int = 0) -> Result:
    """Return what comes of it, beginning with so many replicas that are ready."""
    run = _Replay(trace, service, autoscaler, Random(seed))  # noqa: S311 - no secret depends on it
    return run.run(replicas)


class _Replay:
    """One replay."""

    def __init__(self, trace: Trace, service: Service, autoscaler: Autoscaler, random: Random) -> None:
        self.trace, self.service, self.autoscaler, self.random = trace, service, autoscaler, random
        self.result = Result(requests=len(trace.arrivals))
        self.begin, self.end = trace.arrivals[0], trace.arrivals[-1]
        self.events: list[tuple[float, int, str, _Replica | None, float]] = []
        self.number = count()
        self.ready: list[_Replica] = []
        self.loading: list[_Replica] = []
        self.leaving = 0
        self.unplaced = 0
        self.asked = 0
        self.inflight = self.busy = self.answered = self.late = 0
        self.inflight_seconds = self.busy_seconds = self.since = 0.0

    def run(self, replicas: int) -> Result:
        """Let all requests arrive, and answer the last of them."""
        self.asked, self.since = replicas, self.begin
        self.ready = [_Replica(self.begin, is_ready=True) for _ in range(replicas)]
        self.result.sizes.append((self.begin, replicas))
        self._at(self.begin + self.autoscaler.every, "look", None)
        for arrived, work in zip(self.trace.arrivals, self.trace.works, strict=True):
            while self.events and self.events[0][0] <= arrived:
                self._next()
            self._arrive(arrived, work)
        for each in (*self.ready, *self.loading):
            self.result.replica_seconds += self.end - each.created
        while self.events:
            self._next()
        return self.result

    def _at(self, time: float, kind: str, replica: _Replica | None, arrived: float = 0.0) -> None:
        heappush(self.events, (time, next(self.number), kind, replica, arrived))

    def _next(self) -> None:
        time, _, kind, replica, arrived = heappop(self.events)
        if replica is None:
            if time < self.end:
                self._look(time)
        elif kind == "answer":
            self._answer(time, replica, arrived)
        elif replica in self.loading:  # and not taken away meanwhile
            self.loading.remove(replica)
            replica.is_ready = True
            self.ready.append(replica)

    # -- requests

    def _pass(self, time: float) -> None:
        gone = time - self.since
        self.inflight_seconds += self.inflight * gone
        self.busy_seconds += self.busy * gone
        self.since = time

    def _arrive(self, time: float, work: float) -> None:
        if not self.ready:
            return
        replica = self.ready[int(self.random.random() * len(self.ready))]
        if replica.running < self.service.concurrency:
            self._pass(time)
            self.inflight += 1
            self._begin(time, replica, time, work)
        elif len(replica.queue) < self.service.max_queue:
            self._pass(time)
            self.inflight += 1
            replica.queue.append((time, work))

    def _begin(self, time: float, replica: _Replica, arrived: float, work: float) -> None:
        replica.running += 1
        if not replica.is_leaving:
            self.busy += 1
        if time + work - arrived <= self.service.objective:
            self.result.within += 1
        self._at(time + work, "answer", replica, arrived)

    def _answer(self, time: float, replica: _Replica, came: float) -> None:
        self._pass(time)
        replica.running -= 1
        if not replica.is_leaving:
            self.inflight -= 1
            self.busy -= 1
            self.answered += 1
            self.late += time - came > self.service.objective
        while replica.queue:
            arrived, work = replica.queue.popleft()
            if time - arrived <= self.service.timeout:
                self._begin(time, replica, arrived, work)
                return
            if not replica.is_leaving:  # it is told that it came too late
                self.inflight -= 1
                self.answered += 1
                self.late += 1
        if replica.is_leaving and not replica.running:
            self.leaving -= 1
            self.result.replica_seconds += max(0.0, min(time, self.end) - replica.created)
            self._place(time)

    # -- replicas

    def _look(self, time: float) -> None:
        self._pass(time)
        signal = Signal(
            time,
            self.asked,
            len(self.ready),
            len(self.loading) + self.unplaced,
            self.inflight,
            self.busy,
            self.inflight_seconds,
            self.busy_seconds,
            self.answered,
            self.late,
        )
        wanted = max(self.service.min_replicas, min(self.service.max_replicas, self.autoscaler(signal)))
        if wanted != self.asked:
            self.result.sizes.append((time, wanted))
        if wanted > self.asked:
            self.unplaced += wanted - self.asked
            self._place(time)
        else:
            for _ in range(self.asked - wanted):
                self._take_away(time)
        self.asked = wanted
        self._at(time + self.autoscaler.every, "look", None)

    def _place(self, time: float) -> None:
        free = self.service.max_replicas - len(self.ready) - len(self.loading) - self.leaving
        for _ in range(min(free, self.unplaced)):
            self.unplaced -= 1
            self.result.started += 1
            replica = _Replica(time)
            self.loading.append(replica)
            self._at(time + self.random.choice(self.service.loads), "ready", replica)

    def _take_away(self, time: float) -> None:
        """Take the one that a ReplicaSet takes: not yet placed, not yet ready, then the newest."""
        if self.unplaced:
            self.unplaced -= 1
        elif self.loading:
            self.result.replica_seconds += time - self.loading.pop().created
        else:
            replica = self.ready.pop()
            replica.is_leaving = True
            self.busy -= replica.running
            self.inflight -= replica.running + len(replica.queue)
            if replica.running:
                self.leaving += 1
            else:
                self.result.replica_seconds += time - replica.created
