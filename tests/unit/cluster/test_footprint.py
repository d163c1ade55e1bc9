"""What a cluster has left behind is told from what clusters of other directories have and had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cluster import processes
from e2e.footprint import Neighbour, changes, neighbours

if TYPE_CHECKING:
    from pathlib import Path

OURS = "modelservice-0123abcd"
MACHINE = {"mount /", "exists /etc/cni", "net/ipv4/ip_forward = 0", "ip link eth0: <UP> mtu 1500"}
CGROUPS = [f"cgroup /sys/fs/cgroup/{tree}/{{}}" for tree in ("memory", "unified")]
CABLE = (
    "ip link modelsvc{slot}@if2: <BROADCAST,UP> mtu 1500 link-netnsid 0",
    "ip route 10.{slot}.0.0/16 via 10.{slot}.255.1 dev modelsvc{slot} onlink",
    "ip route fe80::/64 dev modelsvc{slot} proto kernel metric 256 pref medium",
)


def parts(slot: int, cgroup: str) -> set[str]:
    """Return what a cluster that lives has of the machine."""
    return {each.format(cgroup) for each in CGROUPS} | {each.format(slot=slot) for each in CABLE}


def test_what_of_our_own_is_still_there_counts() -> None:
    after = MACHINE | parts(97, OURS) | {"process 12", "mount /checkout/.cluster/x"}
    assert changes(MACHINE, after, OURS) == sorted(after - MACHINE)


def test_a_cluster_of_another_directory_that_has_started_does_not_count() -> None:
    other = Neighbour("/elsewhere/.cluster/x", "modelsvc97")
    after = MACHINE | parts(97, "modelservice-4567cdef") | {"mount /elsewhere/.cluster/x/volumes"}
    assert changes(MACHINE, after, OURS, [other]) == []


def test_a_cluster_of_another_directory_that_has_ended_does_not_count() -> None:
    assert changes(MACHINE | parts(97, "modelservice-4567cdef"), MACHINE, OURS) == []


@pytest.mark.parametrize("cable", ["", "modelsvc97", "modelsvc9", "modelsvc980"])
def test_a_cable_that_no_neighbour_has_counts(cable: str) -> None:
    leak = {each.format(slot=98) for each in CABLE}
    assert changes(MACHINE, MACHINE | leak, OURS, [Neighbour("/elsewhere", cable)]) == sorted(leak)


def test_a_mount_beside_the_directory_of_a_neighbour_counts() -> None:
    leak = {"mount /elsewhere-too"}
    assert changes(MACHINE, MACHINE | leak, OURS, [Neighbour("/elsewhere")]) == sorted(leak)


def test_what_else_of_the_machine_is_new_changed_or_gone_counts() -> None:
    after = MACHINE - {"net/ipv4/ip_forward = 0", "mount /"} | {"net/ipv4/ip_forward = 1", "exists /run/docker"}
    assert changes(MACHINE, after, OURS) == [
        "exists /run/docker",
        "mount /",
        "net/ipv4/ip_forward = 0",
        "net/ipv4/ip_forward = 1",
    ]


def test_neighbours_are_found_by_their_processes_and_their_cables_by_their_plans(tmp_path: Path) -> None:
    ours, node, control_plane = (tmp_path / name for name in ("ours", "node", "controlplane"))
    for directory in (ours, node, control_plane):
        directory.mkdir()
    (node / "plan.json").write_text(json.dumps({"slot": 99}))
    sleepers = [
        processes.spawn(["sleep", "600"], directory=each, log=each / "log", outlives_us=False)
        for each in (ours, node, control_plane)
    ]
    found = {each for each in neighbours(ours) if each.directory.startswith(str(tmp_path))}
    for directory, sleeper in zip((ours, node, control_plane), sleepers, strict=True):
        processes.kill_all(directory)
        sleeper.wait(timeout=5)
    assert found == {Neighbour(str(node), "modelsvc99"), Neighbour(str(control_plane))}
    assert not [each for each in neighbours(ours) if each.directory.startswith(str(tmp_path))]
