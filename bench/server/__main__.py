"""`make bench-server`: our model server beside KServe's, MLServer, LitServe, BentoML, mosec and plain FastAPI.

    python bench/server [--rounds 3] [--seconds 4] [--processes 2] [--peers fastapi,mosec] [--only tiny,image] [--quick]

Every server has the same model (models.py), the same number of processes that compute, one thread each, its best
documented settings (peers/*/serve.py), an environment of its own, and the same client; none is timed before its answers
are torch's. The order of the servers rotates from round to round; figures are medians over the rounds.

Progress goes to stderr; the last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures
import footprint
from elsewhere import Elsewhere
from environments import CannotInstallError, python_of, version_of
from figures import LIMIT, OURS
from load import FailedError, Load, closed, opened
from servers import ENVIRONMENT, HERE, NAMES, Request, Server, on_one_cpu, serving, write_models
from shapes import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

_EXACT, _HALF = 1e-5, 0.02  # of the largest value: sums in another order; bfloat16
_PRECISIONS = {"float32": "Float32", "bfloat16": "BFloat16"}
_RAW_BATCHES = (1, 16, 64)
_STAGES = ("tiny", "tiny-steady", "image", "medium", "medium-peers", "footprint")
_STEADY_SHARE = 0.5  # of what the fastest peer can do: a load at which tails tell about servers, not about queues


class Bench:
    """One run: what was seen so far, and how to see more."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.seen: dict[str, dict[str, list[Load]]] = defaultdict(lambda: defaultdict(list))
        self.raw: dict[str, list[float]] = defaultdict(list)
        self.left_out: dict[str, str] = {}
        self.elsewhere = Elsewhere()
        self._models = write_models(folder, *[name for name in MODELS if any(name in stage for stage in options.only)])

    def install(self) -> None:
        """Make the peers' environments; who cannot be had is named, and left out of everything."""
        for name in list(self.options.peers):
            try:
                python_of(name)
            except CannotInstallError as error:
                self.options.peers.remove(name)
                self._leave_out(name, error)

    def rounds(self, number: int, one: Callable[[str], None], also: Sequence[str] = ()) -> None:
        """Do one thing with every server, in an order that rotates; a peer that fails is named, and left out of it."""
        names, before = [OURS, *also, *self.options.peers], set(self.seen)
        for turn in range(number):
            for name in figures.rotated(names, turn):
                what = f"{name}, {one.__name__}"
                if what in self.left_out:
                    continue
                _say(f"round {turn + 1}: {what}")
                try:
                    one(name)
                except (FailedError, AssertionError, OSError) as error:
                    if name in (OURS, *also):
                        raise
                    self._leave_out(what, error)
                    for row in set(self.seen) - before:
                        self.seen[row].pop(name, None)

    def tiny(self, name: str) -> None:
        """Time the model that is all overhead."""
        binary = name == LIMIT
        with self._serve(name, "tiny") as server:
            server.check(tolerance=_EXACT, binary=binary)
            request = server.request(binary=binary)
            self._see("tiny, 64 connections", name, server, request, connections=64)
            self._see("tiny, 1 connection", name, server, request, connections=1)
            with on_one_cpu(server):
                self._see("tiny, 1 connection, one CPU", name, server, request, connections=1)

    def steady(self, name: str) -> None:
        """Time the tails of the same at a rate that is the same for us and the fastest peer."""
        crowd = self.seen["tiny, 64 connections"]
        peer = figures.fastest(crowd)
        if name not in (OURS, peer) or peer is None:
            return
        rate = int(_STEADY_SHARE * figures.median(crowd[peer], figures.per_second))
        with self._serve(name, "tiny") as server:
            self._see("tiny, steady", name, server, server.request(), connections=64, rate=rate)

    def image(self, name: str) -> None:
        """Time large bodies: as JSON, and as bytes."""
        with self._serve(name, "image") as server:
            if name != LIMIT:
                server.check(tolerance=_EXACT)
                self._see("image, JSON", name, server, server.request(), connections=8)
            if name in (OURS, LIMIT):
                server.check(tolerance=_EXACT, binary=True)
                self._see("image, binary", name, server, server.request(binary=True), connections=8)

    def medium(self) -> None:
        """Time a model that computes, in both precisions, each right behind plain torch."""
        for precision, flag in _PRECISIONS.items():
            self.raw[precision].append(max(self._raw(precision, batch) for batch in _RAW_BATCHES))
            _say(f"  medium: torch alone in {precision} {self.raw[precision][-1]:.0f} rows/s")
            with self._serve(OURS, "medium", f"--precision={flag}") as server:
                server.check(tolerance=_EXACT if precision == "float32" else _HALF, binary=True)
                self._see("medium, binary", precision, server, server.request(binary=True), connections=64)

    def peers_medium(self, name: str) -> None:
        """Time the same model in all servers, in JSON as all take it."""
        flags = ["--precision=Float32"] if name == OURS else []
        with self._serve(name, "medium", *flags) as server:
            server.check(tolerance=_EXACT)
            self._see("medium, JSON", name, server, server.request(), connections=64)

    def _serve(self, name: str, model: str, *flags: str) -> AbstractContextManager[Server]:
        flags = (f"--max-batch-size={MODELS[model].max_batch}", *flags)
        return serving(name, self._models[model], self.options.processes, *flags)

    def _see(self, what: str, label: str, server: Server, request: Request, *, connections: int, rate: int = 0) -> None:
        """Warm up, time, keep."""

        def load(seconds: int) -> Load:
            if rate:
                return opened(request, per_second=rate, connections=connections, seconds=seconds)
            return closed(request, connections=connections, seconds=seconds)

        load(max(1, self.options.seconds // 3))
        with self.elsewhere.watching(server.pids):
            found = load(self.options.seconds)
        self.seen[what][label].append(found)
        _say(f"  {what}: {label} {found.per_second:.0f}/s, p50 {found.p50_ms:.3f} ms, p99 {found.p99_ms:.2f} ms")

    def _raw(self, precision: str, batch: int) -> float:
        """Return the rows per second of as many processes as a server has."""
        command = [sys.executable, str(HERE / "raw.py"), "medium", precision, str(batch), str(self.options.seconds / 2)]
        crew = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
            for _ in range(self.options.processes)
        ]
        return sum(float(process.communicate()[0]) for process in crew)

    def _leave_out(self, what: str, error: Exception) -> None:
        self.left_out[what] = str(error)
        _say(f"left out: {what}: {error}")


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return the numbers."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(options, Path(folder))
        bench.install()
        if "tiny" in options.only:
            bench.rounds(options.rounds, bench.tiny, also=[LIMIT])
        if "tiny-steady" in options.only:
            bench.rounds(options.rounds, bench.steady)
        if "image" in options.only:
            bench.rounds(options.rounds, bench.image, also=[LIMIT])
        for turn in range(options.rounds if "medium" in options.only else 0):
            _say(f"round {turn + 1}: medium")
            bench.medium()
        if "medium-peers" in options.only:
            bench.rounds(1, bench.peers_medium)
        cost = _footprint() if "footprint" in options.only else {}
    _say(figures.table(bench.seen))
    raw = {f"medium_raw_{precision}": round(max(rates)) for precision, rates in bench.raw.items()}
    cpus = bench.elsewhere.cpus or [0.0]
    return {
        **figures.compared(bench.seen),
        **figures.against_raw(bench.seen["medium, binary"], bench.raw),
        **raw,
        **cost,
        "rows": {
            what: {
                name: [round(figures.median(loads, of), 3) for of in (figures.per_second, figures.p50, figures.p99)]
                for name, loads in servers.items()
            }
            for what, servers in bench.seen.items()
        },
        "left_out": bench.left_out,
        "processes": options.processes,
        "versions": {name: version_of(name) for name in options.peers},
        "cpus_elsewhere_mean_and_most": [round(sum(cpus) / len(cpus), 2), round(max(cpus), 2)],
        "minutes": round((time.monotonic() - started) / 60, 1),
    }


def _footprint() -> dict[str, object]:
    try:
        return footprint.measure()
    except AssertionError as error:
        return {"footprint_left_out": str(error)}


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="bench/server", description="Compare model servers.")
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="times that each is measured, of which the median counts (default 3)")
    add("--seconds", type=int, default=4, help="of each run of a client (default 4)")
    add("--processes", type=int, default=cpus, help="that compute, of each server (default: one per CPU)")
    add("--peers", type=names, default=list(NAMES), help=f"whom to compare with (default {','.join(NAMES)})")
    add("--only", type=names, default=list(_STAGES), help=f"what to measure (default {','.join(_STAGES)})")
    add("--quick", action="store_true", help="ours alone, for seconds: shows that this works, no more")
    return parser


def _parsed() -> argparse.Namespace:
    options = _parser().parse_args()
    if options.quick:
        options.rounds, options.seconds, options.processes = 1, 1, 1
        options.peers, options.only = [], ["tiny"]
    return options


if __name__ == "__main__":
    print(json.dumps(main(_parsed())))
