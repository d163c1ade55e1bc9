"""Fetch the data set, ask the model about every row, compare, and measure what was asked for."""

from __future__ import annotations

import hashlib
import logging
import signal
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_server.charts import require_charts
from model_server.errors import ModelError, Reason
from model_server.evaluate.dataset import TRUTH, read_dataset
from model_server.evaluate.endpoint import Endpoint
from model_server.evaluate.intervals import of_times
from model_server.evaluate.outcome import Outcome
from model_server.evaluate.pace import Saturation, percentile, saturation
from model_server.evaluate.report import write_report
from model_server.evaluate.scores import CLASSIFICATION, REGRESSION
from model_server.evaluate.served import Served
from model_server.evaluate.slices import array_of, slices_of
from model_server.fetch import Options as FetchOptions
from model_server.fetch import fetch_file, parse_uri

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Sequence

    from model_server.evaluate.dataset import Dataset
    from model_server.evaluate.judged import Inputs, Judged
    from model_server.evaluate.pace import Level
    from model_server.evaluate.wire import Interface
    from model_server.protocol.datatypes import Array

log = logging.getLogger(__name__)

LATENCY = {"latency_p50": 50, "latency_p95": 95, "latency_p99": 99}
LOAD: dict[str, Callable[[Saturation], float]] = {
    "saturation_concurrency": lambda found: found.concurrency,
    "throughput": lambda found: found.per_second,
}
METRICS = (*CLASSIFICATION, *REGRESSION, *LATENCY, *LOAD)
_SAMPLES = 64  # rows that are sent to measure times
_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to hold against what, and within which bounds."""

    uri: str
    digest: str | None
    model: Endpoint | Judged
    metrics: tuple[str, ...]
    output: str
    batch: int
    timeout_seconds: float
    dataset_ca_file: Path | None
    source_mount: Path
    max_bytes: int
    plain_http: bool = False
    confidence: float = 0.0
    """Of intervals around the figures; none at 0."""
    slices: tuple[str, ...] = ()
    report_dir: Path | None = None


def parse_metrics(text: str) -> tuple[str, ...]:
    """Read a list of names; none stands for all that fit the data set, and the latencies."""
    names = tuple(dict.fromkeys(text.split(","))) if text else ()
    for name in names:
        if name not in METRICS:
            raise ModelError(Reason.INVALID, f"{name!r} is not a metric; it is one of {', '.join(METRICS)}.")
    if {*names} & CLASSIFICATION.keys() and {*names} & REGRESSION.keys():
        message = f"{', '.join(names)}: some are of classes, some of numbers; a model is judged by one of the two."
        raise ModelError(Reason.INVALID, message)
    return names


def evaluate(options: Options) -> dict[str, object]:
    """Say what was measured: numbers, and the data set's digest, and nothing else."""
    if options.report_dir:
        require_charts()
    try:
        with _within(options.timeout_seconds), tempfile.TemporaryDirectory() as desk:
            return _evaluate(options, Path(desk))
    except (OSError, MemoryError) as error:
        what = str(error) or "there is not enough memory"
        raise ModelError(Reason.INVALID, f"The evaluation cannot go on: {what}.") from error


def _evaluate(options: Options, desk: Path) -> dict[str, object]:
    with fetch_file(parse_uri(options.uri), _fetching(options, desk)).open("rb") as file:
        digest = _checked_digest(file, options)
        model = Served(options.model) if isinstance(options.model, Endpoint) else options.model
        interface = model.interface(options.output)
        more = [array_of(name) for name in options.slices]
        dataset = read_dataset(file, interface.inputs, max_bytes=options.max_bytes, more=more)
    asked = options.metrics or _metrics_for(dataset)
    figures: dict[str, float] = {}
    outcome, seconds, levels = None, [], []
    parts: dict[str, Array] = {}
    if any(name in CLASSIFICATION or name in REGRESSION for name in asked):
        truth = _truth(dataset, asked)
        parts = slices_of(options.slices, _told_by(dataset), dataset.rows)
        outcome = Outcome.of(asked, _answers(model, interface, dataset, options.batch), truth)
        figures |= outcome.scores(asked)
    samples = [_rows(dataset, row, interface.fixed_rows or 1) for row in _spread(dataset.rows)]
    if any(name in LATENCY for name in asked):
        seconds = model.seconds(interface, samples)
        figures |= {name: percentile(seconds, percent) for name, percent in LATENCY.items()}
    if any(name in LOAD for name in asked):
        levels = model.levels(interface, samples)
        figures |= _load(levels)
    model.close()
    metrics = {name: decimal(name, figures[name]) for name in asked if name in figures}
    facts: dict[str, object] = {"digest": digest, "rows": dataset.rows, "failed": 0, "metrics": metrics}
    if options.confidence:
        facts |= {
            "confidence": options.confidence,
            "intervals": _intervals(asked, outcome, seconds, options.confidence),
        }
    if parts and outcome:
        facts["slices"] = {name: _slice(asked, outcome.rows(rows), options.confidence) for name, rows in parts.items()}
    if options.report_dir:
        name = model.name
        write_report(options.report_dir, facts, model=name, outcome=outcome, seconds=seconds, levels=levels)
    return facts


class _TooLateError(BaseException):
    """The time is over: none of the errors that whoever is interrupted may take for one of a broken file."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End what takes too long, wherever it is, while there is still somebody to say so."""

    def end(*_: object) -> None:
        raise _TooLateError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TooLateError:
        message = f"The evaluation was not done within {seconds:g} s (--timeout); take fewer rows, or give it longer."
        raise ModelError(Reason.UNREACHABLE, message) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# -- what there is


def _fetching(options: Options, desk: Path) -> FetchOptions:
    return FetchOptions(
        directory=desk,
        pin=None,  # that is the digest of a directory
        ca_file=options.dataset_ca_file,
        source_mount=options.source_mount,
        max_bytes=options.max_bytes,
        plain_http=options.plain_http,
    )


def _checked_digest(file: io.BufferedReader, options: Options) -> str:
    digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if options.digest not in (None, digest):
        what = f"{options.uri.partition('?')[0]} has the digest {digest}, but {options.digest} is asked for"
        raise ModelError(Reason.DIGEST_MISMATCH, f"{what}; nothing was compared.")
    return digest


def _metrics_for(dataset: Dataset) -> tuple[str, ...]:
    """Measure all that fits, when nothing was asked for by name."""
    if dataset.truth is not None and dataset.truth.dtype.kind == "f":
        return (*REGRESSION, *LATENCY)
    return (*(name for name in CLASSIFICATION if name != "f1_macro"), *LATENCY)


def _told_by(dataset: Dataset) -> dict[str, Array]:
    """Name all arrays that slices may be told by."""
    return {**dataset.more, **({} if dataset.truth is None else {TRUTH: dataset.truth})}


def _truth(dataset: Dataset, asked: Sequence[str]) -> Array:
    truth = dataset.truth
    if truth is None:
        message = f"The data set lacks the array {TRUTH!r}; write it, or ask for times alone (--metrics latency_p95)."
        raise ModelError(Reason.INVALID, message)
    if any(name in CLASSIFICATION for name in asked):
        if truth.dtype.kind == "f" or truth.size != dataset.rows:
            what = f"The data set has {TRUTH!r} of {truth.dtype}{list(truth.shape)}"
            raise ModelError(Reason.INVALID, f"{what}; classes are integers, one for each row.")
        return truth.reshape(-1).astype(np.int64)
    return truth


# -- what the model says


def _answers(model: Judged, interface: Interface, dataset: Dataset, most: int) -> Array:
    step = interface.fixed_rows or _batch_size(model, interface, dataset, most)
    parts: list[Array] = []
    for first in range(0, dataset.rows, step):
        left = min(step, dataset.rows - first)
        rows = interface.fixed_rows or left
        answer = model.answer(interface, _rows(dataset, first, rows))
        if len(answer) != rows or (parts and answer.shape[1:] != parts[0].shape[1:]):
            what = f"{rows} rows from {first} on with {interface.output!r} of the shape {list(answer.shape)}"
            raise ModelError(Reason.INVALID, f"The model answers {what}; it must be one row for each, all alike.")
        parts.append(answer[:left])
    answers = np.concatenate(parts)
    wrong = np.flatnonzero(np.isnan(answers).reshape(dataset.rows, -1).any(axis=1))
    if len(wrong):
        what = f"{len(wrong)} of {dataset.rows} rows with NaN in {interface.output!r}, the first is row {wrong[0]}"
        raise ModelError(Reason.INVALID, f"The model answers {what}, counted from 0.")
    return answers


def _batch_size(model: Judged, interface: Interface, dataset: Dataset, most: int) -> int:
    """Halve what is sent at once until the model takes it."""
    size = min(most, dataset.rows)
    while size > 1 and not model.takes(interface, _rows(dataset, 0, size)):
        size //= 2
    return size


def _rows(dataset: Dataset, first: int, count: int) -> Inputs:
    """Return the inputs of some rows; beyond the last one it is asked about again."""
    rows = np.minimum(np.arange(first, first + count), dataset.rows - 1)
    return {name: array[rows] for name, array in dataset.inputs.items()}


def _spread(rows: int) -> list[int]:
    """Pick the rows that are sent to measure times from all over the data set."""
    return sorted({round(row) for row in np.linspace(0, rows - 1, _SAMPLES)})


# -- what comes of it


def _load(levels: Sequence[Level]) -> dict[str, float]:
    for level in levels:
        log.info("%s", level)
    found = saturation(levels)
    if found is None:
        log.warning("How much the model can take was not found: it turns down single requests, or is faster than this.")
        return {}
    return {name: figure(found) for name, figure in LOAD.items()}


def _intervals(
    asked: Sequence[str], outcome: Outcome | None, seconds: Sequence[float], confidence: float
) -> dict[str, tuple[str, str]]:
    found = outcome.intervals(asked, confidence) if outcome else {}
    if seconds:
        found |= of_times(seconds, {name: LATENCY[name] for name in asked if name in LATENCY}, confidence)
    return {name: (decimal(name, low), decimal(name, high)) for name, (low, high) in found.items()}


def _slice(asked: Sequence[str], outcome: Outcome, confidence: float) -> dict[str, object]:
    told: dict[str, object] = {
        "rows": len(outcome.truth),
        "metrics": {name: decimal(name, value) for name, value in outcome.scores(asked).items()},
    }
    if confidence:
        told["intervals"] = _intervals(asked, outcome, (), confidence)
    return told


def decimal(name: str, value: float) -> str:
    """Write a number without an exponent, to six digits."""
    if not np.isfinite(value):
        raise ModelError(
            Reason.INVALID, f"{name} is {value}: the model's answers or {TRUTH!r} are too large to compare."
        )
    return np.format_float_positional(value, precision=_DIGITS, fractional=False, trim="-")
