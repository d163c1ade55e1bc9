"""Requests with their arrival times and their work: read from the lines of public traces, or generated.

The readers know the columns of Azure's LLM inference traces (AzurePublicDataset, CC-BY; Patel et al., Splitwise, ISCA
2024) and of GenTD26 (alibaba/clusterdata), and refuse what has others.
"""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Final

from modelservice_operator.scaling.simulator.service import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

PREFILL_SHARE: Final = 1 / 150
"""What a token of the prompt takes, of what a token of the answer takes."""

DAY: Final = 86400.0


class TraceError(ValueError):
    """A trace cannot be read; the message says why."""


def azure(name: str, lines: Iterable[str], *, demand: float) -> Trace:
    """Return the requests of an LLM inference trace, whose work goes by their tokens.

    The traces do not say on what the models ran: it is taken to be so fast that, on average, `demand` requests are
    worked on at a time.
    """
    arrivals, tokens = [], []
    for row in _rows(name, lines, "TIMESTAMP", "ContextTokens", "GeneratedTokens"):
        arrivals.append(datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp())
        tokens.append(PREFILL_SHARE * float(row["ContextTokens"]) + float(row["GeneratedTokens"]))
    found = _sorted(name, arrivals, tokens)
    token_seconds = demand * found.seconds / sum(tokens)
    return replace(found, works=[token_seconds * each for each in found.works])


def rates(name: str, lines: Iterable[str], works: Sequence[float], *, demand: float, seed: int = 0) -> Trace:
    """Return requests at the rates of a trace, at random within each of its steps, with works by chance.

    The rates are published anonymised: they are scaled so that, on average, `demand` requests are worked on at a time.
    """
    random = Random(seed)  # noqa: S311 - no secret depends on it
    columns = ("seconds", "requests_per_second")
    rows = [(float(row[columns[0]]), float(row[columns[1]])) for row in _rows(name, lines, *columns)]
    steps = [(begin, end, rate) for (begin, rate), (end, _) in pairwise(rows)]
    mean = sum((end - begin) * rate for begin, end, rate in steps) / (rows[-1][0] - rows[0][0])
    scale = demand / (mean * fmean(works))
    arrivals = [time for begin, end, rate in steps for time in _poisson(random, begin, end, scale * rate)]
    return _sorted(name, arrivals, [random.choice(works) for _ in arrivals])


def seconds(name: str, lines: Iterable[str]) -> list[float]:
    """Return a column of times."""
    return [float(row["seconds"]) for row in _rows(name, lines, "seconds")]


def generated(
    name: str,
    *,
    days: float,
    mean: float,
    works: Callable[[Random], float],
    daily: float = 0.8,
    weekend: float = 0.5,
    bursts: float = 0.0,
    burst_factor: float = 3.0,
    burst_seconds: float = 600.0,
    seed: int = 0,
) -> Trace:
    """Return requests with the rhythm of days and weeks, from a Monday's midnight on.

    `mean` is the rate of a working day, `daily` how far the day swings around it (highest at 14:00), `weekend` the part
    of it that is left then, and `bursts` how many times a day, on average, it is `burst_factor` as much for a while.
    """
    random = Random(seed)  # noqa: S311 - no secret depends on it
    end = days * DAY
    burst_times = [*_poisson(random, 0.0, end, bursts / DAY)]
    arrivals: list[float] = []
    for minute in range(int(end / 60)):
        time = 60.0 * minute
        rate = mean * (1 + daily * math.cos(2 * math.pi * (time / DAY - 14 / 24)))
        rate *= weekend if int(time / DAY) % 7 >= 5 else 1.0  # noqa: PLR2004 (Saturday)
        rate *= burst_factor if any(begin <= time < begin + burst_seconds for begin in burst_times) else 1.0
        arrivals += _poisson(random, time, time + 60.0, rate)
    return _sorted(name, arrivals, [works(random) for _ in arrivals])


def _poisson(random: Random, begin: float, end: float, rate: float) -> Iterator[float]:
    time = begin
    while rate > 0:
        time += random.expovariate(rate)
        if time >= end:
            return
        yield time


def _rows(name: str, lines: Iterable[str], *columns: str) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(lines)
    missing = [each for each in columns if each not in (reader.fieldnames or ())]
    if missing:
        raise TraceError(
            f"{name} has no column {' and no column '.join(missing)}; its columns are {reader.fieldnames}."
        )
    return iter(reader)


def _sorted(name: str, arrivals: Sequence[float], works: Sequence[float]) -> Trace:
    if len(arrivals) < 2:  # noqa: PLR2004 (no time passes within one)
        raise TraceError(f"{name} has {len(arrivals)} requests, and a replay needs some.")
    order = sorted(range(len(arrivals)), key=arrivals.__getitem__)
    return Trace(name, [arrivals[each] for each in order], [works[each] for each in order])
