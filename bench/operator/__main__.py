"""`make bench-operator`: what the operator costs, beside a bare client that sends the very same writes.

    python bench/operator [--sizes 500,2000] [--repeat 3] [--largest 5000] [--quick]

The clock of the operator runs from the moment at which its process answers /healthz, so that it contains all lists and
all of kopf's start, but not Python's; that is told as `startup_seconds`. It stops when etcd holds every child and the
first status of every service. Bare client and operator use the same account's token, each on a fresh control plane.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

import bare
from faults.admin import services
from lab import CHILDREN, NAMESPACE, Lab, Operator, cpu_seconds, lab, memory_mb, name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.proxy import Sent

CONNECTIONS = (1, 8, 16)
_CHILDREN_PER_SERVICE = 4  # the ledger's first line, Deployment, Service, metrics Service
_CHANGES = 200
assert CHILDREN  # noqa: S101 (what `_CHILDREN_PER_SERVICE` counts)


@dataclass
class Run:
    """One run of the operator from nothing."""

    seconds: float
    startup_seconds: float
    writes: int
    gets: int
    operator_cpu: float
    api_cpu: float
    rss_mb: float
    more: dict[str, Any] = field(default_factory=dict)


async def replayed(size: int, sent: Sequence[Sent], connections: Sequence[int]) -> tuple[float, int]:
    """Return the bare client's best time, and over how many connections."""
    found = []
    for number in connections:
        async with lab(size) as here:
            found.append((await bare.replay(here.kubeconfig, here.plane.ca, sent, number), number))
            _say(f"  bare client, {size} services, {number} connections: {found[-1][0]:.2f} s")
    return min(found)


async def operated(size: int, *, controllers: bool = False, resident: bool = False) -> Run:
    """Let the operator loose on services that are there already."""
    async with lab(size, controllers=controllers) as here:
        since, api_before = here.revision(), cpu_seconds(here.api_pid)
        operator = Operator(here)
        try:
            alive = await operator.until_alive()
            stored = await here.until_stored(since, _CHILDREN_PER_SERVICE)
            await operator.until_quiet(size)
            requests = operator.requests()
            run = Run(
                seconds=stored - alive,
                startup_seconds=alive - operator.spawned,
                writes=operator.writes(),
                gets=requests.total() - operator.writes(),
                operator_cpu=cpu_seconds(operator.pid),
                api_cpu=cpu_seconds(here.api_pid) - api_before,
                rss_mb=memory_mb(operator.pid),
            )
            _say(f"  operator, {size} services: {run.seconds:.2f} s, {dict(requests)}, {run.operator_cpu:.1f} s CPU")
        finally:
            operator.stop()
        if resident:
            run.more = await _restarted_and_changed(here)
        return run


async def _restarted_and_changed(here: Lab) -> dict[str, Any]:
    operator = Operator(here)
    try:
        quiet = await operator.until_quiet(here.size)
        found = {"restart_seconds": round(quiet - operator.spawned, 2), "restart_writes": operator.writes()}
        _say(f"  restart: {found}, {cpu_seconds(operator.pid):.1f} s CPU")
        latencies = await _changes(here)
        found["change_p50_ms"] = round(statistics.median(latencies) * 1000, 1)
        found["change_p99_ms"] = round(sorted(latencies)[int(len(latencies) * 0.99) - 1] * 1000, 1)
    finally:
        operator.stop()
    return found


async def _changes(here: Lab) -> list[float]:
    """Scale one service after the other; the time runs from the user's request to the watch event of its Deployment."""
    seen: asyncio.Queue[str] = asyncio.Queue()
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    version = (await here.admin.get(f"{path}?limit=1"))["metadata"]["resourceVersion"]
    limits = aiohttp.ClientTimeout(total=None)
    url = f"{here.admin._url}{path}?watch=true&resourceVersion={version}"
    async with here.admin._http.get(url, ssl=here.admin._tls, timeout=limits) as watch:

        async def read() -> None:
            rest = b""
            async for chunk in watch.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    deployment = orjson.loads(line)["object"]
                    seen.put_nowait(deployment["metadata"]["labels"]["modelservice.dev/name"])

        reading = asyncio.create_task(read())
        latencies = []
        for number in range(0, here.size, max(here.size // _CHANGES, 1)):
            begun = time.perf_counter()
            await here.admin.merge(services(NAMESPACE, name(number)), {"spec": {"replicas": 2}})
            while await asyncio.wait_for(seen.get(), 30) != name(number):
                pass
            latencies.append(time.perf_counter() - begun)
            await asyncio.sleep(0.02)
        reading.cancel()
        return latencies


async def main(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return the numbers."""
    sizes, repeat = options.sizes, options.repeat
    every = sorted({*sizes, *([options.largest] if options.largest else [])})
    load = os.getloadavg()[0]
    _say(f"recording the writes of {every[-1]} services (load {load:.1f})")
    sent = await bare.record(every[-1], _CHILDREN_PER_SERVICE)
    numbers: dict[str, Any] = {"load_before": round(load, 1), "children": _CHILDREN_PER_SERVICE}
    best = CONNECTIONS
    for size in every:
        own, ratios, runs = bare.of_first(sent, size), [], []
        for turn in range(1 if size == options.largest else repeat):
            _say(f"{size} services, run {turn + 1}")
            before, at = await replayed(size, own, best)
            runs.append(await operated(size, resident=turn == 0 and size == sizes[-1]))
            after, _ = await replayed(size, own, best)
            ratios.append(runs[-1].seconds / ((before + after) / 2))
            _say(f"  bare {before:.2f} and {after:.2f} s at {at} connections, ratio {ratios[-1]:.3f}")
            if size != every[0]:
                best = (at,)
        best = CONNECTIONS if size != every[0] else best
        numbers |= _told(size, own, ratios, runs)
        best = (at,)  # the smallest size tells which number of connections is best
    if options.controllers:
        run = await operated(options.controllers, controllers=True)
        numbers["with_controllers"] = {
            "services": options.controllers,
            "seconds": round(run.seconds, 2),
            "writes_per_service": round(run.writes / options.controllers, 2),
            "operator_cpu_ms_per_write": round(run.operator_cpu * 1000 / run.writes, 2),
            "api_cpu_ms_per_write": round(run.api_cpu * 1000 / run.writes, 2),
        }
    return numbers


def _told(size: int, sent: Sequence[Sent], ratios: Sequence[float], runs: Sequence[Run]) -> dict[str, Any]:
    """Put the median run of a size into the words of the result; a larger size replaces what is told once."""
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    children = _CHILDREN_PER_SERVICE
    found = {
        f"ratio_{size}": round(statistics.median(ratios), 3),
        f"ratios_{size}": [round(ratio, 3) for ratio in ratios],
        f"seconds_{size}": round(middle.seconds, 2),
        f"rss_mb_{size}": round(middle.rss_mb),
        "writes_per_service": round(middle.writes / size, 3),
        "extra_writes_per_service": round(middle.writes / size - children - 1, 3),
        "gets_per_service": round(middle.gets / size, 3),
        "operator_cpu_ms_per_write": round(middle.operator_cpu * 1000 / middle.writes, 2),
        "api_cpu_ms_per_write": round(middle.api_cpu * 1000 / middle.writes, 2),
        "startup_seconds": round(middle.startup_seconds, 2),
    }
    assert len(sent) >= size * (children + 1)  # noqa: S101 (else the bare client has less to do)
    for run in runs:
        found |= run.more
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/operator", description=__doc__.splitlines()[0])
    numbers = lambda text: [int(each) for each in text.split(",")]  # noqa: E731
    parser.add_argument("--sizes", type=numbers, default=[500, 2000], help="services per run (default 500,2000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs per size, of which the median counts")
    parser.add_argument("--largest", type=int, default=5000, help="one run at this size; 0 for none")
    parser.add_argument("--controllers", type=int, default=500, help="a run with real controllers; 0 for none")
    parser.add_argument("--quick", action="store_true", help="50 and 100 services, once: does it work?")
    return parser


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    arguments = _parser().parse_args()
    if arguments.quick:
        arguments.sizes, arguments.repeat, arguments.largest, arguments.controllers = [50, 100], 1, 0, 50
    print(json.dumps(asyncio.run(main(arguments))))
