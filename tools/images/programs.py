"""Run the programs of a build: their output goes to a log file, their mounts and children end with them."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.errors import ClusterError
from cluster.processes import CONTAINED, tail


class ProgramFailedError(ClusterError):
    """A program of the build ended with an error; the text holds the end of what it printed."""


def run(command: Sequence[str | Path], *, log: Path) -> None:
    """Run a program to its end; `log` keeps what it printed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    if ended.returncode:
        told = " ".join(str(word) for word in command if word not in CONTAINED)
        raise ProgramFailedError(f"Failed with status {ended.returncode}: {told}\n{tail(log, 25)}\n(all of it: {log})")


def answers(command: Sequence[str]) -> bool:
    """Whether a program exists and ends without an error."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0
