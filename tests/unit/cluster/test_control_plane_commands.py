"""The command lines of the control plane, and the ports that it takes."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from pathlib import Path

from cluster import components, kwok, ports
from cluster.components import Settings
from cluster.controlplane import ControlPlane

SETTINGS = Settings(Path("/state"), etcd_port=20001, peer_port=20002, api_port=20003)


def test_the_api_server_listens_on_loopback_and_checks_rights() -> None:
    command = components.apiserver(Path("/bin/kube-apiserver"), SETTINGS)
    assert "--bind-address=127.0.0.1" in command
    assert "--secure-port=20003" in command
    assert "--etcd-servers=http://127.0.0.1:20001" in command
    assert "--authorization-mode=Node,RBAC" in command


def test_flags_of_the_caller_come_last_so_that_they_win() -> None:
    settings = Settings(Path("/state"), 1, 2, 3, api_flags=("--v=9",))
    assert components.apiserver(Path("/bin/kube-apiserver"), settings)[-1] == "--v=9"


def test_etcd_does_not_wait_for_the_disk() -> None:
    assert "--unsafe-no-fsync" in components.etcd(Path("/bin/etcd"), SETTINGS)


def test_without_controllers_a_pod_needs_no_service_account(tmp_path: Path) -> None:
    flag = "--disable-admission-plugins=ServiceAccount"
    assert flag in ControlPlane(tmp_path).settings.api_flags
    assert flag not in ControlPlane(tmp_path, controllers=True).settings.api_flags


def test_kwok_needs_the_controllers_and_listens_nowhere(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path, kwok=True)
    assert plane.programs == ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
    command = kwok.command(Path("/bin/kwok"), plane.kubeconfig)
    assert "--node-port=0" in command
    assert not any(flag.startswith("--server-address") for flag in command)


def test_a_node_of_kwok_has_the_devices_that_it_is_given() -> None:
    node = kwok.node("n1", {"nvidia.com/gpu": "8"}, {"pool": "a"})
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert node["metadata"]["labels"] == {"kubernetes.io/hostname": "n1", "pool": "a"}


def test_the_times_of_a_pod_are_the_annotations_that_the_stages_read() -> None:
    stages = Path(kwok.__file__).with_suffix(".yaml").read_text()
    assert kwok.LOAD_TIME in stages
    assert kwok.DRAIN_TIME in stages


def test_ports_stay_the_same_over_a_restart(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path)
    assert plane.url == plane.url
    assert plane.url.startswith("https://127.0.0.1:")


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert not ports._is_free(taken.getsockname()[1])
    assert len(set(ports.free(3))) == 3


def test_two_who_would_draw_the_same_ports_are_given_others() -> None:
    before = random.getstate()
    random.seed(1)
    ours = ports.free(3)
    ask = "import random; random.seed(1); from cluster import ports; print(*ports.free(3))"
    tools = Path(ports.__file__).parents[1]
    theirs = subprocess.run([sys.executable, "-c", ask], cwd=tools, check=True, capture_output=True, text=True).stdout
    random.setstate(before)
    assert len({*ours, *map(int, theirs.split())}) == 6
