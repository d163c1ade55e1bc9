"""How much CPU others took while something was timed: what tells a quiet machine from a busy one, after the fact."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that processes have used so far."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


@dataclass
class Elsewhere:
    """CPUs that others kept busy, once per timed run."""

    cpus: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def watching(self, servers: Callable[[], Iterable[int]]) -> Iterator[None]:
        """Time something that these processes, and programs that end within it, are part of."""
        before, started = _busy() - _own(servers()), time.perf_counter()
        yield
        self.cpus.append((_busy() - _own(servers()) - before) / (time.perf_counter() - started))


def _own(servers: Iterable[int]) -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_seconds([os.getpid(), *servers]) + ended.ru_utime + ended.ru_stime


def _busy() -> float:
    """Return the CPU time that anyone used, also other machines on the same hardware."""
    names = Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    user, nice, system, _idle, _wait, hard, soft, stolen = map(int, names)
    return (user + nice + system + hard + soft + stolen) / _TICKS
