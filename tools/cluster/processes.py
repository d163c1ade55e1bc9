"""Start processes, find them again, end them.

Every process of a cluster carries the cluster's directory in its environment. So nothing has to be written down that a
crash could lose: what carries the mark is ours, and nothing else is.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.errors import ClusterError

MARK = "MODELSERVICE_CLUSTER_DIRECTORY"
# Private mount and pid namespaces that end with this process, however it ends: nothing stays mounted, nothing runs on.
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)
_PATIENCE_SECONDS = 20.0
_LOOKS = 10
_FLAGS, _IS_KERNEL_THREAD = 5, 0x00200000  # proc_pid_stat(5); PF_KTHREAD


def marked(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the mark of the cluster in this directory."""
    return {**environment, MARK: str(directory.resolve())}


def spawn(
    command: Sequence[str | Path],
    *,
    directory: Path,
    log: Path,
    outlives_us: bool,
) -> "subprocess.Popen[bytes]":
    """Start a process of the cluster; its output goes to its log.

    One that does not outlive us is killed by the kernel when the thread that started it ends, however that happens.
    """
    leash = [] if outlives_us or not shutil.which("setpriv") else ["setpriv", "--pdeathsig", "KILL", "--"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*leash, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=marked(directory, os.environ),
            start_new_session=True,  # a Ctrl-C in the terminal is for us alone
        )


def find(directory: Path) -> list[int]:
    """Return the ids of all processes of the cluster in this directory, as seen from here."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _carries(entry, directory)]


def directories() -> set[str]:
    """Return the directories of all clusters that have a process here."""
    return {found for entry in Path("/proc").iterdir() if entry.name.isdigit() and (found := _mark(entry))}


def _carries(process: Path, directory: Path) -> bool:
    return _mark(process) == str(directory.resolve())


def _mark(process: Path) -> str:
    """Return the directory of the cluster that a process belongs to; empty: of none."""
    try:
        variables = _environment(process).split(b"\0")
    except OSError:  # gone meanwhile, or another user's
        return ""
    prefix = f"{MARK}=".encode()
    return next((os.fsdecode(each.removeprefix(prefix)) for each in variables if each.startswith(prefix)), "")


def _environment(process: Path) -> bytes:
    """Return what a process has in its environment; nothing of one that has ended and waits for its parent to look."""
    for _ in range(_LOOKS):
        state, *others = process.joinpath("stat").read_text().rpartition(")")[2].split()
        environment = process.joinpath("environ").read_bytes()
        if environment or state in "ZX" or int(others[_FLAGS]) & _IS_KERNEL_THREAD:
            return b"" if state in "ZX" else environment
        time.sleep(0.01)  # in the middle of an exec there is no environment
    return b""


def is_first_of_a_namespace(pid: int) -> bool:
    """Tell whether a process is number 1 in a process namespace other than ours."""
    try:
        status = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return False
    ids = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return len(ids) > 1 and ids[-1] == "1"


def kill_all(directory: Path) -> None:
    """Kill every process of the cluster and return when none is left.

    SIGKILL, because an API server with open watches takes half a minute to leave when asked politely.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while remaining := find(directory):
        for pid in remaining:
            _kill(pid, directory)
        if time.monotonic() > deadline:
            raise ClusterError(f"Processes {remaining} of the cluster in {directory} do not end although killed.")
        time.sleep(0.02)


def _kill(pid: int, directory: Path) -> None:
    """Kill a process if it still is the one that we mean: its id may have gone to another one."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _carries(Path("/proc", str(pid)), directory):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def tail(log: Path, lines: int = 15) -> str:
    """Return the end of a log, for an error's text."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(it wrote nothing)"
