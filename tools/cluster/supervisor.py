"""The first process of an enclave: sets up the namespaces that it was started in, keeps its programs running, reaps.

It is killed, never asked to leave: with it the kernel ends every process, mount and network device of it.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cluster import network, processes
from cluster.network import Network
from cluster.node_config import NODE

_RESTART_SECONDS = 1.0
_TOO_MANY_ENDS = 20


def run(directory: Path) -> None:
    """Be the first process; returns only when a program keeps ending."""
    plan = json.loads((directory / "plan.json").read_text())
    _isolate(plan)
    _connect(Network(plan["slot"]), plan["sysctls"])
    # The usual soft limit of 1024 open files would pass on to containerd, and from there into every container.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _supervise(directory, plan["processes"])


def _isolate(plan: dict[str, Any]) -> None:
    socket.sethostname(NODE)
    _run("mount", "--make-rshared", "/")  # a kubelet needs that; it ends at this namespace, which was made private
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    for folder in ("/run/lock", "/run/netns"):
        Path(folder).mkdir(parents=True)
    for parent, own in plan["folders"].items():
        _put_in_front(Path(parent), {name: Path(source) for name, source in own.items()})
    for target, source in plan["shadows"].items():
        if Path(target).exists():
            _run("mount", "--bind", source, target)
    _run("mount", "--make-rshared", "/")


def _put_in_front(parent: Path, own: dict[str, Path]) -> None:
    """Show `parent` with some folders of our own in it, without making them on the machine."""
    front = Path("/run/fronts") / str(parent).strip("/").replace("/", "-")
    front.mkdir(parents=True)
    for entry in [entry for entry in parent.iterdir() if entry.name not in own]:
        place = front / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
            continue
        if entry.is_dir():
            place.mkdir()
        else:
            place.touch()
        _run("mount", "--rbind", str(entry), str(place))
    for name, source in own.items():
        source.mkdir(parents=True, exist_ok=True)
        (front / name).mkdir()
        _run("mount", "--bind", str(source), str(front / name))
    _run("mount", "--rbind", str(front), str(parent))


def _connect(ours: Network, sysctls: dict[str, str]) -> None:
    while subprocess.run(["ip", "link", "show", "eth0"], capture_output=True, check=False).returncode:
        time.sleep(0.05)  # the host lays the cable once it knows our process id
    network.accept(ours)
    for name, value in sysctls.items():
        Path("/proc/sys", name).write_text(value)


def _supervise(directory: Path, commands: dict[str, list[str]]) -> None:
    started = {_start(directory, name, command): name for name, command in commands.items()}
    ends = dict.fromkeys(commands, 0)
    while True:
        pid, status = os.waitpid(-1, 0)
        name = started.pop(pid, None)
        if name is None:
            continue  # a container's shim, or what it left to us
        ends[name] += 1
        code = os.waitstatus_to_exitcode(status)
        _say(f"{name} ended with status {code}, its end number {ends[name]}; see {directory / 'log' / name}.log")
        if ends[name] == _TOO_MANY_ENDS:
            _say("giving up")
            return
        time.sleep(_RESTART_SECONDS)
        started[_start(directory, name, commands[name])] = name


def _start(directory: Path, name: str, command: list[str]) -> int:
    process = processes.spawn(command, directory=directory, log=directory / "log" / f"{name}.log", outlives_us=True)
    process.returncode = 0  # we reap it ourselves; this keeps Popen from complaining that nobody did
    return process.pid


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
