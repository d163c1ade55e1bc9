"""A machine within the machine: processes, mounts and a network of their own, described by a plan, ended by a kill.

Killing the first process takes back all that was made inside. What lies outside is found again by name: the control
groups and the cable by the cluster's directory and network, the processes by their mark.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import cgroups, network, processes, waiting
from cluster.errors import ClusterError
from cluster.network import Network

_START_SECONDS = 180.0


class Enclave:
    """The enclave whose state is in one directory; its `plan.json` is for `supervisor`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Two checkouts may both have a cluster "default".
        self.cgroup = f"modelservice-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"

    def start(self, ours: Network) -> None:
        """Start what the plan says; return when its network is connected with the machine's."""
        (self.directory / "log").mkdir(exist_ok=True)
        cgroups.create(self.cgroup)
        self._unshare()
        self.wait(lambda: self.init() is not None, "the first process did not start")
        network.connect(ours, self.first())

    def init(self) -> int | None:
        """Return the id, as seen from here, of the first process."""
        for pid in processes.find(self.directory):
            if processes.is_first_of_a_namespace(pid):
                return pid
        return None

    def first(self) -> int:
        """Return the id of the first process, which must be there."""
        init = self.init()
        if init is None:
            raise ClusterError(f"Nothing runs in {self.directory}; `up` starts it.")
        return init

    def network(self) -> Network:
        """Return the addresses that the plan names."""
        return Network(json.loads((self.directory / "plan.json").read_text())["slot"])

    def in_network(self, command: Sequence[str]) -> list[str]:
        """Return a command that runs in the enclave's network, but with the machine's files."""
        return ["nsenter", f"--target={self.first()}", "--net", "--", *command]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition of what was started."""
        log = self.directory / "log"
        waiting.until(
            condition,
            f"{what}; the logs are in {log}, {log}/supervisor.log says what ended",
            seconds=_START_SECONDS,
            hopeless=self._gone,
        )

    def down(self) -> None:
        """Kill everything, whatever is left of it, and take back what the namespaces do not take with them."""
        try:
            ours = self.network()
        except (OSError, ValueError, KeyError):
            ours = None  # it never came to a network
        processes.kill_all(self.directory)
        if ours:
            network.disconnect(ours)
        cgroups.remove(self.cgroup)
        _refuse_mounts_below(self.directory)

    def _unshare(self) -> None:
        spaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--propagation", "private"]
        life = ["--fork", "--mount-proc", "--kill-child=KILL"]
        supervise = [sys.executable, str(Path(__file__).parent), "supervise", str(self.directory)]
        processes.spawn(
            ["unshare", *spaces, *life, "--", *supervise],
            directory=self.directory,
            log=self.directory / "log/supervisor.log",
            outlives_us=True,
        )

    def _gone(self) -> str | None:
        if processes.find(self.directory):
            return None
        log = self.directory / "log/supervisor.log"
        return f"The first process ended; the end of {log}:\n{processes.tail(log)}"


def _refuse_mounts_below(directory: Path) -> None:
    """Stop before a directory is removed in which something else is still visible."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if Path(line.split()[4]).is_relative_to(directory):
            raise ClusterError(f"{line.split()[4]} is still mounted; unmount it, then call `down` again.")
