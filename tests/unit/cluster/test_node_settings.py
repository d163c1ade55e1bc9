"""What a node is made of: addresses, control groups, configuration."""

from __future__ import annotations

import ipaddress
import itertools
import json
from pathlib import Path

import pytest

from cluster import advertise, cgroups, network, node_config
from cluster.errors import ClusterError, MissingError
from cluster.network import Network
from cluster.node_config import NodeSettings
from cluster.pins import FOR_NODE

PROGRAMS = {name: Path("/bin", name) for name in (*FOR_NODE, "containerd", "ctr", "runc")}


def settings(directory: Path = Path("/clusters/default")) -> NodeSettings:
    return NodeSettings(
        directory=directory,
        network=Network(97),
        cgroup="modelservice-12345678",
        programs=PROGRAMS,
        plugins=Path("/usr/lib/cni"),
        pause_image="localhost/modelservice/pause:v1",
    )


def test_services_pods_and_the_cable_share_one_range_without_overlap() -> None:
    ours = Network(97)
    cable = ipaddress.IPv4Network(f"{ours.node}/24", strict=False)
    parts = [ipaddress.IPv4Network(ours.services), ipaddress.IPv4Network(ours.pods), cable]
    assert all(part.subnet_of(ipaddress.IPv4Network(ours.everything)) for part in parts)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(parts, 2))
    assert ipaddress.ip_address(ours.host) in cable
    assert ipaddress.ip_address(ours.dns_service) in ipaddress.ip_network(ours.services)
    assert len(ours.link) <= 15  # more the kernel does not take


@pytest.mark.parametrize(
    ("routes", "slot"),
    [
        (["default", "172.17.0.0/16"], 97),
        (["default", "10.97.0.0/16"], 98),  # another cluster of ours
        (["10.97.3.4", "10.98.1.0/24"], 99),
        (["10.0.0.0/8"], 97),  # a wide route gives way to our narrow one
    ],
)
def test_the_first_range_that_nobody_routes_is_taken(routes: list[str], slot: int) -> None:
    assert network.choose(routes) == Network(slot)


def test_no_free_range_is_told() -> None:
    with pytest.raises(MissingError, match="routed elsewhere"):
        network.choose([f"10.{number}.0.0/16" for number in range(256)])


HYBRID = """\
25 24 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
28 25 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
29 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
UNIFIED = "30 24 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_both_versions_of_control_groups_are_recognised() -> None:
    trees = cgroups.hierarchies(HYBRID)
    assert [tree.path.name for tree in trees] == ["cpu,cpuacct", "cpuset", "memory", "unified"]
    assert [tree.unified for tree in trees] == [False, False, False, True]
    assert cgroups.lacking(trees) == {"pids", "devices", "freezer"}
    assert cgroups.lacking(cgroups.hierarchies(UNIFIED)) == set()
    assert cgroups.lacking([]) == {"cgroup2"}


def test_everything_that_a_node_writes_lies_in_its_directory() -> None:
    files = node_config.files(settings())
    assert all(file.is_relative_to("/clusters/default") for file in files)
    plan = json.loads(files[Path("/clusters/default/plan.json")])
    for own in plan["folders"].values():
        assert all(Path(source).is_relative_to("/clusters/default") for source in own.values())


def test_every_machine_wide_setting_of_the_kubelet_is_shadowed_by_a_file_of_ours() -> None:
    files = node_config.files(settings())
    shadows = node_config.plan(settings())["shadows"]
    assert files[Path(shadows["/proc/sys/vm/overcommit_memory"])] == "1\n"
    assert set(shadows) == {f"/proc/sys/{name}" for name in node_config.KUBELET_SYSCTLS}


def test_every_component_has_a_user_of_its_own() -> None:
    commands = node_config.processes(settings())
    configured = [argument for command in commands.values() for argument in command if "--kubeconfig=" in argument]
    configured.append(node_config.kube_proxy(settings())["clientConnection"]["kubeconfig"])
    configured.append(node_config.corefile(settings()))
    users = {settings().kubeconfig(user) for user in node_config.USERS if user != "admin"}
    assert all(any(str(user) in text for text in configured) for user in users)


def test_containerd_makes_nothing_outside_and_lowers_no_oom_score() -> None:
    text = node_config.containerd(settings())
    assert "io.containerd.internal.v1.opt" in text
    assert "restrict_oom_score_adj = true" in text
    assert 'root = "/clusters/default/containerd"' in text


def test_a_name_outside_of_the_cluster_gets_a_quick_no() -> None:
    assert "rcode NXDOMAIN" in node_config.corefile(settings())


def test_an_advertised_resource_is_patched_into_both_fields() -> None:
    assert json.loads(advertise.patch("nvidia.com/gpu", "4")) == [
        {"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": "4"},
        {"op": "add", "path": "/status/allocatable/nvidia.com~1gpu", "value": "4"},
    ]


@pytest.mark.parametrize("wrong", ["gpu=4", "nvidia.com/gpu", "nvidia.com/gpu=four"])
def test_a_resource_that_kubernetes_would_not_take_is_refused(wrong: str) -> None:
    with pytest.raises(ClusterError, match=f'"{wrong}" is not of the form'):
        advertise.advertise(Path("/nowhere"), wrong)
