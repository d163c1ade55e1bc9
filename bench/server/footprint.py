"""What the model server costs when nobody asks it anything: memory above `import torch`, CPU while idle, time to ready.

    python bench/server/footprint.py [--processes 1,2,3] [--idle-seconds 60]

Memory is the proportional set size (PSS) of all processes of a server, less that of one that has imported torch and
does nothing else. PSS shares pages out to all who map them, so it is measured only while no other process has torch.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = (10, 20, 10)
IMPORT = "import os, torch; torch.set_num_threads(1); print('imported', flush=True); os.read(0, 1)"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="1,2,3")
    parser.add_argument("--idle-seconds", type=int, default=60)
    options = parser.parse_args()
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = perceptron(Path(folder, "tiny"))
        imported()  # reads torch's files into memory, so that what follows measures no disk
        import_mib, import_seconds = imported()
        result |= {"import_torch_mib": round(import_mib), "import_torch_seconds": round(import_seconds, 2)}
        above: dict[int, float] = {}
        for count in map(int, options.processes.split(",")):
            with serving(model, count) as (pid, ready_seconds):
                family = tree(pid)
                above[count] = pss_mib(family) - import_mib
                idle = idle_percent(family, options.idle_seconds)
            result[f"processes_{count}"] = {
                "rss_over_torch_mb": round(above[count], 1),
                "idle_cpu_percent": round(idle, 2),
                "ready_seconds_after_import": round(ready_seconds - import_seconds, 2),
            }
        more = [(above[high] - above[low]) / (high - low) for low, high in pairwise(sorted(above)) if low > 1]
        result["mb_per_further_process"] = round(sum(more) / len(more), 1) if more else None
    print(json.dumps(result))


def perceptron(directory: Path) -> Path:
    """Write the smallest model, so that what is measured is the server."""
    directory.mkdir()
    tensors = [{"name": name, "datatype": "FP32", "shape": [-1, 10]} for name in ("x", "y")]
    card = {"format": "safetensors", "architecture": "mlp", "parameters": {"layers": LAYERS}}
    (directory / "model.json").write_text(json.dumps({**card, "inputs": tensors[:1], "outputs": tensors[1:]}))
    weights = {}
    for index, (size_in, size_out) in enumerate(pairwise(LAYERS)):
        weights[f"{2 * index}.weight"] = np.zeros((size_out, size_in), "<f4")
        weights[f"{2 * index}.bias"] = np.zeros(size_out, "<f4")
    save_file(weights, directory / "weights.safetensors")
    return directory


def imported() -> tuple[float, float]:
    """Measure a process that has imported torch: MiB, and seconds until it had."""
    started = time.perf_counter()
    command = [sys.executable, "-c", IMPORT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - started
        return pss_mib([process.pid]), seconds


@contextlib.contextmanager
def serving(model: Path, processes: int) -> Iterator[tuple[int, float]]:
    """Start a server, ask it once on each of some connections, and end it."""
    command = [sys.executable, "-m", "model_server", "serve", str(model), "--host", "127.0.0.1", "--port", "0"]
    command += ["--metrics-port", "0", "--drain-delay", "0s", "--processes", str(processes)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        log = ""
        while not log.rpartition("ready: ")[1]:
            log += process.stderr.readline()
        ready_seconds = time.perf_counter() - started
        port = re.search(r"listening on port (\d+)", log)[1]  # type: ignore[index]
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10], "data": [0] * 10}]}).encode()
        for _ in range(10 * processes):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/tiny/infer", body).read()
        time.sleep(1)
        yield process.pid, ready_seconds
    finally:
        process.terminate()
        process.wait()


def tree(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def pss_mib(pids: list[int]) -> float:
    """Return the proportional set size of processes, at a moment when nobody else has torch."""
    while True:
        wait_to_be_alone(pids)
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
        if is_alone(pids):
            return sum(int(kib) for text in texts for kib in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)) / 1024


def wait_to_be_alone(pids: list[int]) -> None:
    """Wait until no other process has torch in memory."""
    while not is_alone(pids):
        time.sleep(0.2)


def idle_percent(pids: list[int], seconds: int) -> float:
    """Return the CPU that processes use in a while, in percent of one."""

    def ticks() -> int:
        rows = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
        return sum(int(row[11]) + int(row[12]) for row in rows)

    before = ticks()
    time.sleep(seconds)
    return 100 * (ticks() - before) / TICKS / seconds


def is_alone(family: list[int]) -> bool:
    """Say whether nobody else has torch in memory."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) not in family and "libtorch" in (entry / "maps").read_text():
                return False
    return True


if __name__ == "__main__":
    main()
