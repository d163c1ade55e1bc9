"""What the model server costs when nobody asks it anything: memory above `import torch`, CPU while idle, time to ready.

    python bench/server/footprint.py [--processes 1,2,3] [--idle-seconds 60]

Memory is the proportional set size (PSS) of all processes of a server, less that of one that has imported torch and
does nothing else. PSS shares pages out to all who map them, so it is measured only while no other process has torch.
Time to ready runs from the start of the process until it says so to a probe, less what a process takes from its start
until it has imported torch; each is the median of three, in turn. Idle is the server with the fewest processes, beside
a bare uvicorn, which looks ten times a second whether it is to stop. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from cluster import ports
from elsewhere import cpu_seconds
from servers import ENVIRONMENT, Server, our_command, write_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servers import Model

_IMPORT = "import os, torch; torch.set_num_threads(1); print('imported', flush=True); os.read(0, 1)"
_BARE = "import sys, uvicorn; uvicorn.run(lambda *_: None, host='127.0.0.1', port=int(sys.argv[1]), log_level='error')"
_STARTS = 3
_PATIENCE_SECONDS = 300


def measure(processes: Sequence[int] = (1, 2, 3), idle_seconds: int = 60) -> dict[str, object]:
    """Measure all of it."""
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = write_models(Path(folder), "tiny")["tiny"]
        imported()  # reads torch's files into memory, so that what follows measures no disk
        imports, starts = [], []
        for _ in range(_STARTS):
            imports.append(imported())
            with ready(model, min(processes)) as (_, seconds):
                starts.append(seconds)
        import_mib, import_seconds = (statistics.median(values) for values in zip(*imports, strict=True))
        above: dict[int, float] = {}
        for count in sorted(processes):
            with ready(model, count) as (server, _):
                family = server.pids()
                above[count] = pss_mib(family) - import_mib
                if count == min(processes):
                    result |= idle(family, idle_seconds)
    result |= {
        "rss_over_torch_mb": round(above[min(processes)], 1),
        "rss_over_torch_mb_by_processes": {count: round(mib, 1) for count, mib in above.items()},
        "ready_seconds_after_import": round(statistics.median(starts) - import_seconds, 2),
        "import_torch_mb": round(import_mib),
        "import_torch_seconds": round(import_seconds, 2),
    }
    more = [(above[high] - above[low]) / (high - low) for low, high in pairwise(sorted(above)) if low > 1]
    return result | ({"mb_per_further_process": round(statistics.mean(more), 1)} if more else {})


def imported() -> tuple[float, float]:
    """Measure a process that has imported torch: MiB, and seconds until it had."""
    started = time.perf_counter()
    command = [sys.executable, "-c", _IMPORT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - started
        return pss_mib([process.pid]), seconds


@contextlib.contextmanager
def ready(model: Model, processes: int) -> Iterator[tuple[Server, float]]:
    """Start a server and time it until it is ready; ask it once on each of some connections, and end it."""
    (port,) = ports.free(1)
    started = time.perf_counter()
    with subprocess.Popen(our_command(model.directory, port, processes), stderr=subprocess.DEVNULL) as process:
        try:
            while not _is_ready(port):
                assert process.poll() is None, "the server has ended"
                time.sleep(0.01)
            seconds = time.perf_counter() - started
            server = Server("ours", model, port, process.pid)
            for _ in range(10 * processes):
                server.answer(server.request())
            time.sleep(1)
            yield server, seconds
        finally:
            process.terminate()


def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5).status == 200)
    return False


def idle(family: list[int], seconds: int) -> dict[str, object]:
    """Measure the CPU that a server uses while nobody asks, in percent of one, beside a bare uvicorn."""
    with subprocess.Popen([sys.executable, "-c", _BARE, str(ports.free(1)[0])]) as bare:
        try:
            time.sleep(3)  # it starts
            before = cpu_seconds(family), cpu_seconds([bare.pid])
            time.sleep(seconds)
            used = cpu_seconds(family) - before[0], cpu_seconds([bare.pid]) - before[1]
        finally:
            bare.terminate()
    percent = [round(100 * each / seconds, 2) for each in used]
    return dict(zip(("idle_cpu_percent", "idle_cpu_percent_of_bare_uvicorn"), percent, strict=True))


def pss_mib(pids: list[int]) -> float:
    """Return the proportional set size of processes, at a moment when nobody else has torch."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        while not is_alone(pids):
            assert time.monotonic() < deadline, "another process has torch all the time, which hides what memory costs"
            time.sleep(0.2)
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
        if is_alone(pids):
            return sum(int(kib) for text in texts for kib in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)) / 1024


def is_alone(family: list[int]) -> bool:
    """Say whether nobody else has torch in memory; this process has not, for its own figures' sake."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) not in family and "libtorch" in (entry / "maps").read_text():
                return False
    return True


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="1,2,3")
    parser.add_argument("--idle-seconds", type=int, default=60)
    options = parser.parse_args()
    print(json.dumps(measure([int(count) for count in options.processes.split(",")], options.idle_seconds)))


if __name__ == "__main__":
    main()
