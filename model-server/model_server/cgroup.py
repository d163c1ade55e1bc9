"""How many processes the container's CPU limit allows, and one computing thread for each.

The limit is what counts, never the number of CPUs of the node: more computing threads than CPU time are throttled
together, which costs up to 8x (measured with one busy neighbour). Without a limit nobody has said that the rest of the
machine is ours: one process.
"""

from __future__ import annotations

import contextlib
import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/")


def allowed_processes(root: Path = _ROOT) -> int:
    """Return the CPU limit of the container in whole CPUs, at least 1; 1 without a limit."""
    limit = cpu_limit(root)
    return 1 if limit is None else max(1, min(int(limit), len(os.sched_getaffinity(0))))


def cpu_limit(root: Path = _ROOT) -> float | None:
    """Return the CPU limit of the container in CPUs, None without one."""
    return min(_limits(root), default=None)


def compute_in_one_thread() -> None:
    """Keep libraries from starting threads of their own; to be called before numpy and torch are imported."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _limits(root: Path) -> Iterator[float]:
    """Yield every limit in CPUs on the way from our cgroup to the top, in both versions of cgroups."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for place in _places(root / "sys/fs/cgroup", path):
                quota, _, period = _text(place / "cpu.max").partition(" ")
                yield from _ratio(quota, period)
        elif "cpu" in controllers.split(","):
            for place in chain.from_iterable(
                _places(root / "sys/fs/cgroup" / name, path) for name in ("cpu", controllers)
            ):
                yield from _ratio(_text(place / "cpu.cfs_quota_us"), _text(place / "cpu.cfs_period_us"))


def _places(mount: Path, path: str) -> Iterator[Path]:
    """A container may see its own cgroup as the mount's root, or at its path from the node's root: look at all."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for count in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:count])


def _ratio(quota: str, period: str) -> Iterator[float]:
    with contextlib.suppress(ValueError):  # there is no such file, or it says "max"
        if int(quota) > 0:  # -1 is no limit
            yield int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
