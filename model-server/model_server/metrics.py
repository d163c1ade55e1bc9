"""What the server counts, and Prometheus' text of it.

The numbers live in rows of shared memory, one row per process, at the same places in each: a process writes its own
row only, so nothing locks, and whoever answers a scrape adds the rows up. A row outlives its process, so no counter
goes backwards when a process is replaced.

The counters are our own: an observation of prometheus_client costs 0.8-1.8 µs, in its multiprocess mode 1.9-3.7; one of
these 0.14-0.3, all of a request 0.6 and of a batch 0.4 (measured), where a request costs 24 µs in all. Series that may
appear later exist from the start at 0: a rate over a series that begins with an error misses it.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from model_server.drift import Drift
    from model_server.protocol.datatypes import Array

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_BUCKETS = 50
CODES = (200, 400, 401, 408, 413, 415, 429, 499, 500, 503, 504)
_ROW_BYTES = mmap.PAGESIZE  # no two processes write to the same page, nor to the same cache line


class Rejection(StrEnum):
    """Why a request was turned away before the model saw it."""

    QUEUE_FULL = "queue_full"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    LOADING = "loading"
    UNAUTHORIZED = "unauthorized"


def shared_rows(count: int) -> list[memoryview[float]]:
    """Return rows of zeros that this process and those forked from it share."""
    memory = memoryview(mmap.mmap(-1, count * _ROW_BYTES))
    return [memory[at * _ROW_BYTES : (at + 1) * _ROW_BYTES].cast("d") for at in range(count)]


class Cell:
    """One number of a row."""

    __slots__ = ("_row",)

    def __init__(self, row: memoryview[float]) -> None:
        self._row = row

    def add(self, amount: float = 1) -> None:
        """Count."""
        self._row[0] += amount

    @property
    def value(self) -> float:
        """The number as it is."""
        return self._row[0]

    @value.setter
    def value(self, value: float) -> None:
        self._row[0] = value


class Histogram:
    """Counts per bucket, and the sum of all values; a value on a bound belongs to the bucket that ends there."""

    __slots__ = ("_row", "bounds")

    def __init__(self, bounds: Sequence[float], row: memoryview[float]) -> None:
        self.bounds = bounds
        self._row = row

    def observe(self, value: float) -> None:
        """Count one value."""
        self._row[bisect_left(self.bounds, value)] += 1
        self._row[-1] += value

    @property
    def counts(self) -> list[int]:
        """How many values each bucket has, the last without a bound."""
        return [int(count) for count in self._row[:-1]]

    @property
    def total(self) -> float:
        """The sum of all values."""
        return self._row[-1]


class Metrics:
    """What one process counts, and how it is: cells of its row."""

    def __init__(
        self,
        max_batch_size: int,
        seconds: Sequence[float] = SECONDS,
        row: memoryview[float] | None = None,
        tally: Array | None = None,
    ) -> None:
        self.tally = tally  # of what its inputs hold (`drift`)
        self.row = shared_rows(1)[0] if row is None else row
        self.shape = (max_batch_size, seconds)
        free = 0

        def cells(count: int = 1) -> memoryview[float]:
            nonlocal free
            free += count
            return self.row[free - count : free]

        def histogram(bounds: Sequence[float]) -> Histogram:
            return Histogram(bounds, cells(len(bounds) + 2))

        self.requests = {code: Cell(cells()) for code in CODES}
        self.rejected = {reason: Cell(cells()) for reason in Rejection}
        self.request_seconds = histogram(seconds)
        self.queue_seconds = histogram(seconds)
        self.compute_seconds = histogram(seconds)
        self.batch_size = histogram(_powers_of_two(max_batch_size))
        self.explain_requests = {code: Cell(cells()) for code in CODES}
        self.explain_seconds = histogram(SECONDS)
        self.explain_inflight = Cell(cells())
        self.inflight = Cell(cells())
        self.queue_requests = Cell(cells())
        self.queue_since = Cell(cells())  # when the one that waits longest came, by the clock; 0: none waits
        self.ready = Cell(cells())  # 1 while the process has proven its model and takes requests
        self.beat = Cell(cells())  # when the process was last seen to be well, by the clock
        self.restarts = Cell(cells())

    def oldest_seconds(self, now: float) -> float:
        """How long the request has waited that waits longest; a sum cannot tell."""
        since = self.queue_since.value
        return now - since if since else 0.0

    def bury(self) -> None:
        """Forget what a process was about when it died; what it had taken, it failed."""
        self.requests[500].add(self.inflight.value)
        self.explain_requests[500].add(self.explain_inflight.value)
        for cell in (self.inflight, self.explain_inflight, self.queue_requests, self.queue_since, self.ready):
            cell.value = 0

    @classmethod
    def summed(cls, processes: Sequence[Metrics]) -> Metrics:
        """Return what all have counted until now."""
        columns = zip(*(each.row for each in processes), strict=True)
        return cls(*processes[0].shape, row=memoryview(array("d", map(sum, columns))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What is read at the moment of a scrape."""

    ready: bool
    queue_oldest_seconds: float
    born: float  # in Unix time
    info: Mapping[str, str]
    workers: int = 1
    explains: bool = False
    renewals: Mapping[str, bool] = field(default_factory=dict)  # by secret: whether its files could be read
    certificate_expires: float | None = None  # in Unix time
    load_seconds: Mapping[str, float] = field(default_factory=dict)  # by phase
    drifts: Sequence[Drift] = ()  # of its inputs, where the model brings what they are held against


def exposition(metrics: Metrics, now: Now, model: str) -> bytes:
    """Write everything in Prometheus' text format."""
    return ("\n".join(chain.from_iterable(_families(metrics, now, {"model": model}))) + "\n").encode()


def _families(metrics: Metrics, now: Now, model: Mapping[str, str]) -> Iterator[Iterable[str]]:
    yield _counters(
        "requests_total", "Inference requests answered, by HTTP status code.", model, "code", metrics.requests
    )
    yield _counters(
        "rejected_total",
        "Inference requests turned away before the model saw them, by reason.",
        model,
        "reason",
        metrics.rejected,
    )
    yield _histogram(
        "request_duration_seconds", "Time from a request's head to its answer.", model, metrics.request_seconds
    )
    yield _histogram(
        "queue_duration_seconds", "Time that a request waited for the model.", model, metrics.queue_seconds
    )
    yield _histogram("compute_duration_seconds", "Time of one forward pass of a batch.", model, metrics.compute_seconds)
    yield _histogram("batch_size", "Rows in one forward pass.", model, metrics.batch_size)
    yield _gauge("inflight_requests", "Inference requests that have no answer yet.", model, metrics.inflight.value)
    yield _gauge("queue_requests", "Inference requests that wait for the model.", model, metrics.queue_requests.value)
    yield _gauge("queue_oldest_seconds", "Age of the request that has waited longest.", model, now.queue_oldest_seconds)
    if now.explains:
        yield from _explain_families(metrics, model)
    if now.drifts:
        yield from _drift_families(now.drifts, model)
    yield _gauge("model_ready", "1 while the model takes requests, else 0.", model, int(now.ready))
    yield _family("model_load_seconds", "gauge", "Time from nothing to a proven model, by phase.")
    yield (_sample("model_load_seconds", {**model, "phase": phase}, s) for phase, s in now.load_seconds.items())
    yield _gauge("workers", "Processes that the model is to run in.", model, now.workers)
    yield _gauge("workers_ready", "Processes that have proven the model.", model, metrics.ready.value)
    yield _one(
        "counter", "worker_restarts_total", "Processes that died and were replaced.", model, metrics.restarts.value
    )
    if now.renewals:
        yield _family("secret_last_reload_successful", "gauge", "1 while the files of a secret are in force, else 0.")
        yield (
            _sample("secret_last_reload_successful", {**model, "secret": secret}, int(well))
            for secret, well in now.renewals.items()
        )
    if now.certificate_expires is not None:
        yield _gauge(
            "certificate_expiration_timestamp_seconds",
            "When the certificate that is shown expires, in Unix time.",
            model,
            now.certificate_expires,
        )
    yield _gauge("start_time_seconds", "When the counters began, in Unix time.", model, now.born)
    yield _gauge("info", "What runs here; always 1.", {**model, **now.info}, 1)


def _explain_families(metrics: Metrics, model: Mapping[str, str]) -> Iterator[Iterable[str]]:
    yield _counters(
        "explain_requests_total", "Explanations answered, by HTTP status code.", model, "code", metrics.explain_requests
    )
    yield _histogram(
        "explain_duration_seconds",
        "Time from the head of a request for an explanation to its answer.",
        model,
        metrics.explain_seconds,
    )
    yield _gauge(
        "explain_inflight_requests", "Explanations that have no answer yet.", model, metrics.explain_inflight.value
    )


def _drift_families(drifts: Sequence[Drift], model: Mapping[str, str]) -> Iterator[Iterable[str]]:
    yield _family("input_drift_psi", "gauge", "Population stability index of an input's sample of the last hour.")
    for each in drifts:
        inputs = {**model, "input": each.name}
        yield (
            _sample("input_drift_psi", {**inputs, **({"column": column} if column else {})}, round(psi, 6))
            for column, psi in each.psi.items()
        )
    yield _family("input_outlier_ratio", "gauge", "Share of the sample outside what the model learned from.")
    yield (
        _sample("input_outlier_ratio", {**model, "input": each.name}, each.outlier_ratio)
        for each in drifts
        if each.outlier_ratio is not None
    )
    yield _family("input_sampled_values", "gauge", "Values of each feature of an input in the sample of the last hour.")
    yield (_sample("input_sampled_values", {**model, "input": each.name}, each.values) for each in drifts)


def _powers_of_two(most: int) -> list[float]:
    return [float(2**power) for power in range((most - 1).bit_length() + 1)]


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP model_server_{name} {text}", f"# TYPE model_server_{name} {kind}"


def _counters(
    name: str, text: str, labels: Mapping[str, str], label: str, cells: Mapping[int, Cell] | Mapping[Rejection, Cell]
) -> Iterator[str]:
    yield from _family(name, "counter", text)
    for key, cell in cells.items():
        yield _sample(name, {**labels, label: str(key)}, cell.value)


def _gauge(name: str, text: str, labels: Mapping[str, str], value: float) -> Iterator[str]:
    return _one("gauge", name, text, labels, value)


def _one(kind: str, name: str, text: str, labels: Mapping[str, str], value: float) -> Iterator[str]:
    yield from _family(name, kind, text)
    yield _sample(name, labels, value)


def _histogram(name: str, text: str, labels: Mapping[str, str], histogram: Histogram) -> Iterator[str]:
    yield from _family(name, "histogram", text)
    below = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        below += count
        yield _sample(f"{name}_bucket", {**labels, "le": str(bound)}, below)
    yield _sample(f"{name}_sum", labels, histogram.total)
    yield _sample(f"{name}_count", labels, below)


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    text = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
    return f"model_server_{name}{{{text}}} {int(value) if float(value).is_integer() else value}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
