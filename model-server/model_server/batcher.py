"""Which requests run together, and when.

Work-conserving: whenever the executor is free it takes all that waits, up to the largest batch, so a batch grows only
while the executor is busy, and an idle server adds no delay (`max_batch_delay` adds one for those who want it).
The executor is the model's thread, or, while passes are short, the loop itself (`placement`). Everything else here runs
on the event loop; a request ends in exactly one call of its `done`.

    admit ── full ─────────────────────────────► RequestError 429
    submit ─► bucket ────┬─ deadline ──────────► RequestError 504
              (by shape) ├─ client gone ───────► RequestError 499
                         └─ executor free ─► batch ─► outputs, or RequestError 500 for the one that failed
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from model_server.batch import run_batch
from model_server.errors import RequestError, client_gone, queue_full
from model_server.metrics import Rejection
from model_server.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.batch import Outcome
    from model_server.limits import Limits
    from model_server.metrics import Metrics
    from model_server.protocol.datatypes import Array, Arrays

    BucketKey: TypeAlias = tuple[tuple[int, ...], ...]

T = TypeVar("T")

# What is so large runs at once: it is still in the processor's cache, and in one turn of the loop hardly another comes
# that could join it (measured, images of 150,000 values: 0.77 of what a bare handler reaches, instead of 0.71).
_LARGE_VALUES = 65_536


class Handle(Protocol):
    """A call that may be taken back."""

    def cancel(self) -> object:
        """Take it back."""


class Loop(Protocol):
    """What the batcher needs of an event loop."""

    def call_soon(self, callback: Callable[[], None], /) -> Handle:
        """Call after the input that is here now has been read."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Handle:
        """Call after a time."""


class Worker(Protocol):
    """What the batcher needs of an executor."""

    def submit(self, work: Callable[[], T], done: Callable[[T], None], /) -> None:
        """Run the work elsewhere, and `done` with its result on the loop."""


class Ticket:
    """One request on its way; `cancel` says that nobody waits for the answer any more."""

    __slots__ = ("_batcher", "done", "inputs", "key", "queued", "rows", "size")

    def __init__(self, batcher: Batcher, inputs: Arrays, queued: float, done: Callable[[Outcome], None]) -> None:
        self._batcher = batcher
        self.inputs = inputs
        self.rows = len(inputs[0])
        self.size = sum(map(_values, inputs))
        self.key = tuple(array.shape[1:] for array in inputs)  # datatypes are the model's own, the same for all
        self.queued = queued
        self.done = done

    def cancel(self) -> None:
        """Drop the request if it has not run yet; what has run is thrown away."""
        self._batcher.cancel(self)


class Bucket:
    """Requests whose rows may be stacked, in order of arrival."""

    __slots__ = ("rows", "tickets")

    def __init__(self) -> None:
        # OrderedDict: the head of a plain dict is slow to find after many deletions at the front
        self.tickets: OrderedDict[Ticket, None] = OrderedDict()
        self.rows = 0

    @property
    def head(self) -> Ticket:
        """The request that has waited longest."""
        return next(iter(self.tickets))

    def add(self, ticket: Ticket) -> None:
        """Put a request at the end."""
        self.tickets[ticket] = None
        self.rows += ticket.rows

    def drop(self, ticket: Ticket) -> None:
        """Take a request out, wherever it stands."""
        del self.tickets[ticket]
        self.rows -= ticket.rows

    def take(self, most_rows: int) -> list[Ticket]:
        """Take from the front what fits into one batch; the first always does."""
        batch: list[Ticket] = []
        rows = 0
        while self.tickets and rows + self.head.rows <= most_rows:
            ticket = self.head
            self.drop(ticket)
            batch.append(ticket)
            rows += ticket.rows
        return batch


class Batcher:
    """Queues requests and feeds the executor."""

    def __init__(
        self,
        *,
        forward: Callable[[Arrays], Arrays],
        worker: Worker,
        loop: Loop,
        clock: Callable[[], float],
        limits: Limits,
        metrics: Metrics,
        look: Callable[[Arrays], None] | None = None,
    ) -> None:
        self._look = look  # at inputs that were answered
        self._forward = forward
        self._worker = worker
        self._loop = loop
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._placement = Placement()
        self._live: OrderedDict[Ticket, None] = OrderedDict()  # waiting or running; the first expires first
        self._buckets: dict[BucketKey, Bucket] = {}
        self._waiting = 0
        self._busy = False
        self._dispatch_call: Handle | None = None
        self._expiry_call: Handle | None = None

    def admit(self) -> None:
        """Raise RequestError when too many wait already; asked before a request is decoded, which may cost more."""
        if self._waiting >= self._limits.max_queue:
            self._metrics.rejected[Rejection.QUEUE_FULL].add()
            raise queue_full(self._waiting, "requests")

    def submit(self, inputs: Arrays, done: Callable[[Outcome], None]) -> Ticket:
        """Queue an admitted request, or raise RequestError when it is too large."""
        limits = self._limits
        ticket = Ticket(self, inputs, self._clock(), done)
        if ticket.rows > limits.max_batch_size:
            message = (
                f"The request has {ticket.rows} rows; this server takes at most {limits.max_batch_size} at a time."
            )
            raise RequestError(400, message)
        bucket = self._buckets.get(ticket.key)
        if bucket is None:
            bucket = self._buckets[ticket.key] = Bucket()
        bucket.add(ticket)
        self._waiting += 1
        self._metrics.queue_requests.value = self._waiting
        if self._waiting == 1:
            self._metrics.queue_since.value = ticket.queued
        self._live[ticket] = None
        if self._expiry_call is None:
            self._await_expiry()
        if not self._busy and ticket.size >= _LARGE_VALUES and self._delay(bucket) <= 0:
            self._dispatch()
        elif not self._busy and self._dispatch_call is None:
            self._dispatch_in(self._delay(bucket))
        elif not self._busy and limits.max_batch_delay_seconds > 0 and bucket.rows >= limits.max_batch_size:
            self._dispatch_in(0.0)  # full before its delay is over
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """End a request whose client has gone; does nothing to one that has ended."""
        if ticket in self._live:
            self._metrics.rejected[Rejection.CANCELLED].add(self._unqueue(ticket))
            self._finish(ticket, client_gone())

    def _dispatch_in(self, delay: float) -> None:
        if self._dispatch_call is not None:
            self._dispatch_call.cancel()
        # call_soon, not a call: whatever else this turn of the loop reads joins the batch
        later = self._loop.call_later(delay, self._dispatch) if delay > 0 else self._loop.call_soon(self._dispatch)
        self._dispatch_call = later

    def _dispatch(self) -> None:
        self._dispatch_call = None
        if self._busy or not self._buckets:
            return
        key = next(iter(self._buckets)) if len(self._buckets) == 1 else min(self._buckets, key=self._delay_of)
        bucket = self._buckets[key]
        delay = self._delay(bucket)
        if delay > 0:
            self._dispatch_in(delay)
            return
        batch = bucket.take(self._limits.max_batch_size)
        if not bucket.tickets:
            del self._buckets[key]
        self._has_left(len(batch))
        self._busy = True
        self._start(batch)

    def _delay_of(self, key: BucketKey) -> float:
        return self._delay(self._buckets[key])

    def _delay(self, bucket: Bucket) -> float:
        """How long a bucket should still wait; below zero the longer it has waited beyond that."""
        age = self._clock() - bucket.head.queued
        if bucket.rows >= self._limits.max_batch_size:
            return -age
        return self._limits.max_batch_delay_seconds - age

    def _start(self, batch: list[Ticket]) -> None:
        now = self._clock()
        for ticket in batch:
            self._metrics.queue_seconds.observe(now - ticket.queued)
        self._metrics.batch_size.observe(sum(ticket.rows for ticket in batch))
        work = partial(_timed, self._clock, self._forward, [ticket.inputs for ticket in batch])
        if self._placement.on_loop(_size(batch)):
            result = work()
            self._busy = False
            self._finish_batch(batch, result)
            if self._buckets and self._dispatch_call is None:
                self._dispatch_in(0.0)  # when what came meanwhile has been read
        else:
            self._worker.submit(work, partial(self._come_back, batch))

    def _come_back(self, batch: list[Ticket], result: tuple[list[Outcome], float]) -> None:
        self._busy = False
        self._dispatch()  # first of all: the thread should compute while the answers are written
        self._finish_batch(batch, result)

    def _finish_batch(self, batch: list[Ticket], result: tuple[list[Outcome], float]) -> None:
        outcomes, seconds = result
        self._placement.observe(seconds, _size(batch))
        self._metrics.compute_seconds.observe(seconds)
        for ticket, outcome in zip(batch, outcomes, strict=True):
            if ticket in self._live:
                self._finish(ticket, outcome)
        if self._look is not None and not isinstance(outcomes[0], RequestError):
            self._look(batch[0].inputs)

    def _await_expiry(self) -> None:
        head = next(iter(self._live))
        delay = head.queued + self._limits.request_timeout_seconds - self._clock()
        self._expiry_call = self._loop.call_later(max(delay, 0.0), self._expire)

    def _expire(self) -> None:
        """End what is late; the one timer stands for all, since all requests have the same time."""
        self._expiry_call = None
        timeout = self._limits.request_timeout_seconds
        while self._live and self._clock() - (ticket := next(iter(self._live))).queued >= timeout:
            self._metrics.rejected[Rejection.DEADLINE].add(self._unqueue(ticket))
            self._finish(ticket, RequestError(504, f"The request was not answered within {timeout:g} seconds."))
        if self._live:
            self._await_expiry()

    def _unqueue(self, ticket: Ticket) -> bool:
        """Take a request out of its bucket; False when it is already with the executor."""
        bucket = self._buckets.get(ticket.key)
        if bucket is None or ticket not in bucket.tickets:
            return False
        bucket.drop(ticket)
        if not bucket.tickets:
            del self._buckets[ticket.key]
        self._has_left(1)
        return True

    def _has_left(self, count: int) -> None:
        """Tell who looks from outside how many wait now, and since when."""
        self._waiting -= count
        self._metrics.queue_requests.value = self._waiting
        self._metrics.queue_since.value = min((bucket.head.queued for bucket in self._buckets.values()), default=0.0)

    def _finish(self, ticket: Ticket, outcome: Outcome) -> None:
        del self._live[ticket]
        ticket.done(outcome)


def _values(array: Array) -> int:
    return sum(map(len, array.flat)) if array.dtype.hasobject else array.size


def _size(batch: list[Ticket]) -> int:
    return sum(ticket.size for ticket in batch)


def _timed(
    clock: Callable[[], float], forward: Callable[[Arrays], Arrays], requests: list[Arrays]
) -> tuple[list[Outcome], float]:
    start = clock()
    outcomes = run_batch(forward, requests)
    return outcomes, clock() - start
