"""`make bench-operator`: what the operator costs, beside a bare client that sends the very same writes.

    python bench/operator [--sizes 500,2000] [--largest 5000] [--repeat 3] [--connections 1,8,16] [--controllers 500]

Both use the token of the operator's own account, each on etcd and an API server that were put back to the same state
before and have come to rest. The services are there before the operator starts. Its clock runs from the moment at
which its program is loaded (/healthz answers; the bare client's program is loaded, too) until every child and the first
status of every service are stored; all its lists and watches are in that time. The bare client replays the bodies that
the operator sent for them, as a proxy recorded them, before and after, over the number of connections that is best.

Who writes has one CPU, and etcd and the API server have the others, as in a cluster, where the operator is on another
machine. The smallest size is measured once more with all on the same CPUs; there the bare client also replays with the
operator's watches open, which whoever looks after objects must have.

Progress goes to stderr; the last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import bare
from faults.admin import Admin, services
from lab import CHILDREN, NAMESPACE, Lab, cpu_seconds, lab, name
from subject import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHANGES = 200


@dataclass(frozen=True)
class Run:
    """One run of the operator from nothing."""

    size: int
    seconds: float
    startup_seconds: float
    writes: int
    reads: int
    operator_cpu: float
    api_cpu: float
    rss_mb: float
    bare_seconds: float = 0.0

    @property
    def ratio(self) -> float:
        """The time, as a multiple of the bare client's."""
        return self.seconds / self.bare_seconds

    @property
    def ratio_with_startup(self) -> float:
        """The same from the moment at which the process was asked for; the bare client's has no such part."""
        return (self.seconds + self.startup_seconds) / self.bare_seconds

    def costs(self) -> dict[str, float]:
        """Tell what is compared between runs of different sizes, each for one service or one write."""
        return {
            "writes_per_service": round(self.writes / self.size, 3),
            "reads_per_service": round(self.reads / self.size, 3),
            "operator_cpu_ms_per_write": round(self.operator_cpu * 1000 / self.writes, 2),
            "api_cpu_ms_per_write": round(self.api_cpu * 1000 / self.writes, 2),
        }


async def main(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return the numbers."""
    sizes = sorted({*options.sizes, *([options.largest] if options.largest else [])})
    numbers: dict[str, Any] = {"load_before": round(os.getloadavg()[0], 1), "children": CHILDREN}
    runs: list[Run] = []
    async with lab() as here:
        for size in sizes:
            await here.grow(size)
        _say(f"recording the writes for {sizes[-1]} services")
        recording = await bare.record(here, sizes[-1])
        best = options.connections
        here.apart = True
        for size in sizes:
            tried = best if size == options.largest else options.connections  # there all of them would take too long
            for turn in range(1 if size == options.largest else options.repeat):
                _say(f"{size} services, run {turn + 1}")
                before, number = await _replayed(here, recording, size, tried)
                tried = best = [number]
                run = await _operated(here, size, recording)
                if turn == 0 and size in (options.sizes[-1], options.largest):
                    found, rss_mb = await _resident(here, changes=_CHANGES if size == options.sizes[-1] else 0)
                    numbers |= found if size == options.sizes[-1] else {f"{what}_{size}": found[what] for what in found}
                    run = replace(run, rss_mb=max(run.rss_mb, rss_mb))
                runs.append(await _compared(here, recording, run, before, best))
                _say(f"  {runs[-1].ratio:.3f} of the bare client's time")
        numbers |= _told(runs)
        here.apart = False
        numbers |= await _sharing(here, sizes[0], recording, best, options.repeat)
    if options.controllers:
        _say(f"{options.controllers} services beside the controller manager")
        async with lab(controllers=True) as here:
            await here.grow(options.controllers)
            numbers["with_controllers"] = _row(await _operated(here, options.controllers, None))
    return numbers


async def _replayed(
    here: Lab, recording: bare.Recording, size: int, connections: Sequence[int], *, listens: bool = False
) -> tuple[float, int]:
    """Return the bare client's best time, and over how many connections."""
    found = []
    for number in connections:
        await here.fresh(size)
        api, sent = cpu_seconds(here.api_pid), recording.of_first(size)
        found.append((await bare.replay(here, sent, number, listens=listens), number))
        cost = (cpu_seconds(here.api_pid) - api) * 1000 / len(sent)
        who = f"bare client, {number} connections{' and watches' if listens else ''}"
        _say(f"  {who}: {found[-1][0]:.2f} s, API server {cost:.2f} ms CPU per write")
    return min(found)


async def _compared(here: Lab, recording: bare.Recording, run: Run, before: float, connections: Sequence[int]) -> Run:
    """Replay once more behind a run of the operator, and hold the run against the mean of before and after."""
    after, _ = await _replayed(here, recording, run.size, connections)
    return replace(run, bare_seconds=(before + after) / 2)


async def _sharing(
    here: Lab, size: int, recording: bare.Recording, connections: Sequence[int], times: int
) -> dict[str, Any]:
    """Compare where all want the same CPUs; and the bare client with one that hears what the operator hears."""
    ratios, listening_ratios = [], []
    for turn in range(times):
        _say(f"{size} services, all on the same CPUs, run {turn + 1}")
        before, _ = await _replayed(here, recording, size, connections)
        run = await _compared(here, recording, await _operated(here, size, recording), before, connections)
        listening, _ = await _replayed(here, recording, size, connections, listens=True)
        ratios.append(round(run.ratio, 3))
        listening_ratios.append(listening / run.bare_seconds)
        _say(f"  {ratios[-1]:.3f} of the bare client's time, with watches {listening_ratios[-1]:.3f}")
    return {
        f"ratio_shared_{size}": _median(ratios),
        f"ratios_shared_{size}": ratios,
        f"listening_ratio_{size}": _median(listening_ratios),
    }


async def _operated(here: Lab, size: int, recording: bare.Recording | None) -> Run:
    """Let the operator loose on services that are there already, and stop it when it is done with all."""
    await here.fresh(size)
    since, api = here.revision(), cpu_seconds(here.api_pid)
    operator = Operator(here)
    try:
        alive = await operator.until_alive()
        stored = await here.until_stored(since, recording.revisions(size) if recording else 0)
        await operator.until_quiet(size)
        requests, writes = operator.requests(), operator.writes()
        run = Run(
            size,
            seconds=stored - alive,
            startup_seconds=alive - operator.spawned,
            writes=writes,
            reads=requests.total() - writes,
            operator_cpu=cpu_seconds(operator.pid),
            api_cpu=cpu_seconds(here.api_pid) - api,
            rss_mb=operator.most_memory_mb(),
        )
    finally:
        operator.stop()
    _say(f"  operator: {run.seconds:.2f} s after {run.startup_seconds:.2f} s, {dict(requests)}")
    _say(f"  {run.costs()}, {run.rss_mb:.0f} MB")
    return run


async def _resident(here: Lab, *, changes: int) -> tuple[dict[str, float], float]:
    """Start the operator again on services that it has brought up, change some; tell also the memory that it took."""
    operator = Operator(here)
    try:
        quiet = await operator.until_quiet(here.size)
        numbers = {"restart_seconds": round(quiet - operator.spawned, 2), "restart_writes": operator.writes()}
        if changes:
            latencies = sorted(await _changes(here, changes))
            for percent in (50, 99):
                numbers[f"change_p{percent}_ms"] = round(latencies[len(latencies) * percent // 100 - 1] * 1000, 1)
        rss_mb = operator.most_memory_mb()
    finally:
        operator.stop()
    _say(f"  resident: {numbers}, {rss_mb:.0f} MB")
    return numbers, rss_mb


async def _changes(here: Lab, number: int) -> list[float]:
    """Scale services, one at a time; the time runs from the user's request to the news of the changed Deployment."""
    latencies = []
    async with (
        Admin.of(here.plane) as admin,
        admin.watch(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments") as deployments,
    ):
        for each in map(name, range(0, here.size, -(-here.size // number))):
            begun = time.perf_counter()
            asked = asyncio.create_task(admin.merge(services(NAMESPACE, each), {"spec": {"replicas": 2}}))
            async for deployment in deployments:
                if deployment["metadata"]["labels"]["modelservice.dev/name"] == each:
                    break
            latencies.append(time.perf_counter() - begun)
            await asked
            await asyncio.sleep(0.02)
    return latencies


def _told(runs: Sequence[Run]) -> dict[str, Any]:
    """Put all runs into the words of the result: medians of each size, and the worst of what holds for all."""
    numbers: dict[str, Any] = {}
    for size in sorted({run.size for run in runs}):
        own = [run for run in runs if run.size == size]
        numbers[f"ratio_{size}"] = _median([run.ratio for run in own])
        numbers[f"ratios_{size}"] = [round(run.ratio, 3) for run in own]
        numbers[f"ratio_with_startup_{size}"] = _median([run.ratio_with_startup for run in own])
        numbers[f"seconds_{size}"] = _median([run.seconds for run in own])
        numbers[f"rss_mb_{size}"] = round(max(run.rss_mb for run in own))
    costs = [run.costs() for run in runs]
    numbers |= {what: max(each[what] for each in costs) for what in costs[0]}
    numbers["extra_writes_per_service"] = round(numbers["writes_per_service"] - CHILDREN, 3)
    numbers["startup_seconds"] = _median([run.startup_seconds for run in runs])
    return numbers


def _row(run: Run) -> dict[str, float]:
    return {"services": run.size, "seconds": round(run.seconds, 2), **run.costs()}


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    def numbers(text: str) -> list[int]:
        return [int(each) for each in text.split(",")]

    parser = argparse.ArgumentParser(prog="bench/operator", description="Measure what the operator costs.")
    parser.add_argument("--sizes", type=numbers, default=[500, 2000], help="services per run (default 500,2000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs per size, of which the median counts (default 3)")
    parser.add_argument("--largest", type=int, default=5000, help="one run at this size (default 5000; 0: none)")
    parser.add_argument("--connections", type=numbers, default=[1, 8, 16], help="of the bare client (default 1,8,16)")
    parser.add_argument("--controllers", type=int, default=500, help="a run with controllers (default 500; 0: none)")
    return parser


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(_parser().parse_args()))))
