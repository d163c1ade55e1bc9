"""`down` takes back all that a node changed on the machine, whatever was killed before, and whenever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster import binaries, cgroups, home, preflight
from cluster.errors import MissingError
from cluster.home import Home
from cluster.node import Node
from e2e.footprint import changed, footprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.node

NAME = "leaves-nothing"
HERE = Home(NAME)
NODE = Node(HERE.directory)
TOOL = [sys.executable, str(Path(home.__file__).parent)]


@pytest.fixture(autouse=True)
def clean_machine() -> Iterator[None]:
    try:
        preflight.check_node(HERE.directory)
    except MissingError as error:
        pytest.skip(str(error))
    down()
    yield
    down()


def cluster(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    command = [*TOOL, *arguments, "--name", NAME]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def up() -> None:
    ended = cluster("up", "--driver", "node")
    assert ended.returncode == 0, ended.stderr


def down() -> None:
    ended = cluster("down")
    assert ended.returncode == 0, ended.stderr


def pod_runs() -> None:
    kubectl = [str(binaries.path("kubectl")), f"--kubeconfig={HERE.kubeconfig}"]
    image = NODE.pause_image
    run = ["run", "pod", f"--image={image}", "--image-pull-policy=Never"]
    subprocess.run([*kubectl, *run], check=True, capture_output=True)
    wait = ["wait", "--for=condition=Ready", "pod/pod", "--timeout=120s"]
    subprocess.run([*kubectl, *wait], check=True, capture_output=True)


def test_a_node_that_ran_a_pod_is_gone_after_down() -> None:
    before = footprint(HERE.directory)
    up()
    pod_runs()
    assert cluster("status").returncode == 0
    down()
    assert changed(HERE.directory, before) == []


@pytest.mark.parametrize("victim", ["the first process of the node", "its keeper outside"])
def test_a_killed_node_is_gone_after_down(victim: str) -> None:
    before = footprint(HERE.directory)
    up()
    pod_runs()
    first = NODE.init()
    assert first is not None
    keeper = int(Path("/proc", str(first), "stat").read_text().rpartition(")")[2].split()[1])
    os.kill(first if victim.startswith("the first") else keeper, signal.SIGKILL)
    assert cluster("status").returncode == 1
    down()
    assert changed(HERE.directory, before) == []


def test_a_killed_node_is_replaced_by_up() -> None:
    up()
    first = NODE.init()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    up()
    assert cluster("status").returncode == 0
    assert NODE.init() != first


# Every stage of `up`, told by what it leaves behind first.
STAGES: dict[str, Callable[[], object]] = {
    "the directory": HERE.directory.exists,
    "the plan": (HERE.directory / "plan.json").exists,
    "the control groups": lambda: any((tree.path / NODE.cgroup).exists() for tree in cgroups.mounted()),
    "the first process": NODE.init,
    "containerd": (HERE.directory / "log/containerd.log").exists,
    "the image of the pods": (HERE.directory / "pause.tar").exists,
    "the kubelet's state": (HERE.directory / "kubelet/pods").exists,
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_up_that_was_killed_half_way_is_gone_after_down(stage: str) -> None:
    before = footprint(HERE.directory)
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    tool = subprocess.Popen(
        [*TOOL, "up", "--driver", "node", "--name", NAME],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not STAGES[stage]() and tool.poll() is None:
        time.sleep(0.005)
    tool.kill()
    tool.wait()
    down()
    assert changed(HERE.directory, before) == []
