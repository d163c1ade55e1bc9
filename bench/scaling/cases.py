"""The traces that are replayed, and the service that each of them asks.

What a trace does not say is the same for all of them: four slots a replica; twice the accelerators that its busiest
minute needs; an objective of one and a half times what 95% of its requests take alone, so that an autoscaler attains it
if its queues make the 95th percentile of all latencies no more than half as long again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelservice_operator.scaling.simulator import traces
from modelservice_operator.scaling.simulator.oracle import demands
from modelservice_operator.scaling.simulator.service import Service, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from random import Random

CONCURRENCY: Final = 4
DEMAND: Final = 24.0
"""Requests that are worked on at a time, on average, in the public traces: they are published without a scale."""
OBJECTIVE_FACTOR: Final = 1.5
TIMEOUT_FACTOR: Final = 4.0
PLACING_SECONDS: Final = 10.0
"""From asking for a replica until it begins to load."""
LLM_LOADS: Final = (60.0, 90.0, 120.0, 150.0, 180.0)
SMALL_LOADS: Final = (20.0, 30.0, 40.0, 60.0)


@dataclass(frozen=True, slots=True)
class Case:
    """A trace, the service that it asks, and how many replicas there are when it begins."""

    trace: Trace
    service: Service
    replicas: int


def cases(folder: Path | None, factor: float = OBJECTIVE_FACTOR) -> list[Case]:
    """Return those of a folder of public traces, and those that are generated."""
    found = [*public(folder)] if folder else []
    return [_case(trace, loads, factor) for trace, loads in (*found, *_generated(alone=not found))]


def public(folder: Path) -> Iterator[tuple[Trace, Sequence[float]]]:
    """Tell the kinds by their columns; rates get the works and the loads of the files beside them."""
    files = {file.stem: file.read_text().splitlines() for file in sorted(folder.glob("*.csv"))}
    columns = {name: set(lines[0].split(",")) for name, lines in files.items() if lines}
    times = {name: traces.seconds(name, files[name]) for name in columns if columns[name] == {"seconds"}}
    for name, has in columns.items():
        if "TIMESTAMP" in has:
            yield traces.azure(name, files[name], demand=DEMAND), LLM_LOADS
        elif "requests_per_second" in has:
            works = _beside(name, {each: found for each, found in times.items() if "load" not in each})
            loads = _beside(name, {each: found for each, found in times.items() if "load" in each})
            yield traces.rates(name, files[name], works, demand=DEMAND), [PLACING_SECONDS + each for each in loads]


def _beside(name: str, times: dict[str, list[float]]) -> list[float]:
    """Return the times of the same service, by the beginning of the file's name, else the first."""
    if not times:
        raise SystemExit(f"bench/scaling: beside {name}.csv there must be files with inference and model-load seconds")
    service = name.split("-", maxsplit=1)[0]
    return next((found for each, found in times.items() if each.startswith(service)), next(iter(times.values())))


def _generated(*, alone: bool) -> Iterator[tuple[Trace, Sequence[float]]]:
    def works(mean: float) -> Callable[[Random], float]:
        return lambda random: random.gammavariate(2, mean / 2)

    yield traces.generated("week", days=7, mean=0.25, works=works(60), seed=1), SMALL_LOADS
    yield traces.generated("bursts", days=1, mean=1.0, works=works(16), bursts=12, burst_factor=4, seed=2), SMALL_LOADS
    yield traces.generated("llm", days=1, mean=1.2, works=works(16), bursts=4, burst_seconds=1200, seed=3), LLM_LOADS
    if alone:
        yield traces.generated("few", days=2, mean=0.2, works=works(20), bursts=6, seed=4), LLM_LOADS


def _case(trace: Trace, loads: Sequence[float], factor: float) -> Case:
    works, needs = sorted(trace.works), demands(trace)
    p95 = works[int(0.95 * len(works))]
    most = math.ceil(2 * max(needs) / CONCURRENCY)
    service = Service(CONCURRENCY, factor * p95, loads, max_replicas=most, timeout=TIMEOUT_FACTOR * p95)
    return Case(trace, service, math.ceil(max(needs[:5]) / CONCURRENCY))
