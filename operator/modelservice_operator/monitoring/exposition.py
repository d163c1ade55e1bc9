"""Reads a server's metrics, Prometheus' text, into the few numbers that a judgement needs.

The parser is Prometheus' own for Python, which takes 18 µs for a sample, 40 ms for 200 KB (measured): it is given the
lines of those metrics only that play a part. Regular expressions are RE2's, as in Prometheus: no text makes them slow.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import re2
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.samples import Sample

    from modelservice_operator.slo.metrics import Metrics

Buckets: TypeAlias = "Mapping[float, float]"
"""How many values there were up to each bound."""

_MAX_SAMPLES: Final = 5_000
_MAX_LINE: Final = 4_096  # the parser's time grows with its square
_MAX_VALUE: Final = 2**53  # above, floats no longer count by ones
_MATCHER: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)"([^"]*)"')


class ExpositionError(ValueError):
    """A page is not what it should be; the message says in what."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one server tells at one moment; None, or no buckets: it does not tell."""

    requests: float
    errors: float | None = None
    latency: Buckets = field(default_factory=dict)
    inflight: float | None = None
    """Requests without an answer."""
    waiting: float | None = None
    """Those of them that wait."""
    born: float | None = None
    """When its counters began, in Unix time."""


def snapshot(page: bytes, metrics: Metrics) -> Snapshot:
    """Return what a page tells, by what the server calls things; raises ExpositionError.

    Where a server does not count requests, those in its histogram count, and none where it has no histogram either.
    There are 0 failures until they have a series.
    """
    told = _told(page, metrics)
    latency, requests = _buckets(told, metrics.latency), _total(told, metrics.requests)
    inflight = [_total(told, part) for part in metrics.inflight]
    counts = metrics.requests or metrics.latency
    if requests is None and latency is None and (counts or inflight == [None]):
        raise ExpositionError(f"it has no metric {_name(counts or metrics.inflight[0])}")
    return Snapshot(
        requests=(latency or {}).get(math.inf, 0.0) if requests is None else requests,
        errors=None if requests is None or not metrics.errors else _total(told, metrics.errors) or 0.0,
        latency=latency or {},
        inflight=sum(each or 0.0 for each in inflight) if any(each is not None for each in inflight) else None,
        waiting=_total(told, metrics.waiting),
        born=_total(told, metrics.born),
    )


_Told: TypeAlias = "Mapping[str, list[Sample]]"
"""The samples of every metric that a page has or announces."""


def _told(page: bytes, metrics: Metrics) -> _Told:
    try:
        text = page.decode()
    except UnicodeDecodeError as error:
        raise ExpositionError(f"it is no text in UTF-8: {error}") from None
    told: dict[str, list[Sample]] = {}
    lines = []
    for line in _lines_of(metrics).finditer(text):
        told.setdefault(line["name"], [])
        if line["comment"] is None:
            lines.append(line)
    if len(lines) > _MAX_SAMPLES:
        raise ExpositionError(f"it has {len(lines)} samples where at most {_MAX_SAMPLES} are read")
    for sample in map(_sample, lines):
        told[sample.name].append(sample)
    return told


def _sample(line: re.Match[str]) -> Sample:
    text = line[0]
    shown = text if len(text) <= 100 else f"{text[:100]}..."  # noqa: PLR2004 (characters)
    if len(text) > _MAX_LINE:
        raise ExpositionError(f"a line has {len(text)} characters where at most {_MAX_LINE} are read: {shown}")
    try:
        ((sample,),) = (family.samples for family in text_string_to_metric_families(text))
    except (ValueError, LookupError):
        sample = None
    if sample is None or sample.name != line["name"]:
        raise ExpositionError(f"this line is no sample: {shown}")
    if not 0 <= sample.value < _MAX_VALUE:
        raise ExpositionError(f"no count has such a value: {shown}")
    return sample


def _total(told: _Told, metric: str) -> float | None:
    """Add up what counts of a metric; None where the page does not know it."""
    samples = told.get(_name(metric))
    return None if samples is None else math.fsum(sample.value for sample in samples if _counts(metric, sample))


def _buckets(told: _Told, metric: str) -> Buckets | None:
    buckets: dict[float, float] = {}
    for sample in told.get(f"{_name(metric)}_bucket", ()):
        if _counts(metric, sample):
            try:
                bound = float(sample.labels["le"])
            except (KeyError, ValueError):
                raise ExpositionError(f"a bucket of {_name(metric)} has no bound") from None
            buckets[bound] = buckets.get(bound, 0.0) + sample.value
    return buckets if buckets or _name(metric) in told else None


@lru_cache
def _lines_of(metrics: Metrics) -> re.Pattern[str]:
    """Return what finds the lines of the metrics that play a part."""
    parts = (metrics.requests, metrics.errors, metrics.latency, *metrics.inflight, metrics.waiting, metrics.born)
    names = {_name(part) for part in parts if part}
    if metrics.latency:
        names.add(f"{_name(metrics.latency)}_bucket")
    either = "|".join(map(re.escape, sorted(names)))
    return re.compile(rf"^(?P<comment># (?:HELP|TYPE) )?(?P<name>{either})(?![a-zA-Z0-9_:]).*$", re.MULTILINE)


def _name(metric: str) -> str:
    return metric.partition("{")[0]


def _counts(metric: str, sample: Sample) -> bool:
    """Tell whether a sample is one that the metric's matchers select; a label that is not there is empty."""
    return all(
        bool(pattern.fullmatch(sample.labels.get(label, ""))) is is_wanted
        for label, pattern, is_wanted in _matchers(metric)
    )


@lru_cache
def _matchers(metric: str) -> tuple[tuple[str, re2._Regexp, bool], ...]:
    options = re2.Options()
    options.dot_nl, options.log_errors, options.max_mem = True, False, 1 << 20
    found = []
    for label, operator, value in _MATCHER.findall(metric.partition("{")[2]):
        options.literal = "~" not in operator
        try:
            pattern = re2.compile(value, options)
        except re2.error as error:
            words = error.args[0].decode(errors="replace")
            raise ExpositionError(f"{metric} has no regular expression: {words}") from None
        found.append((label, pattern, not operator.startswith("!")))
    return tuple(found)
