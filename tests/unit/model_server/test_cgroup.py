"""The number of processes follows the container's CPU limit, wherever the kernel keeps it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from model_server.cgroup import allowed_processes

if TYPE_CHECKING:
    from pathlib import Path

V2 = "0::"
V1 = "9:name=systemd:/x\n4:memory:/x\n3:cpu,cpuacct:"


@pytest.fixture(autouse=True)
def on_many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("cpu_max", "processes"),
    [("400000 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 1), ("100000 50000", 2)],
)
def test_version_2_in_a_container_that_sees_its_own_cgroup_as_the_root(
    tmp_path: Path, cpu_max: str, processes: int
) -> None:
    root = write(tmp_path, {"proc/self/cgroup": V2 + "/", "sys/fs/cgroup/cpu.max": cpu_max})
    assert allowed_processes(root) == processes


def test_the_smallest_limit_on_the_way_to_the_top_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": V2 + "/kubepods/pod1/server",
        "sys/fs/cgroup/kubepods/pod1/server/cpu.max": "800000 100000",
        "sys/fs/cgroup/kubepods/pod1/cpu.max": "300000 100000",
        "sys/fs/cgroup/kubepods/cpu.max": "max 100000",
    }
    assert allowed_processes(write(tmp_path, files)) == 3


def test_a_path_outside_of_the_namespace_is_looked_for_from_the_mount(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": V2 + "/../../pod1", "sys/fs/cgroup/cpu.max": "300000 100000"}
    assert allowed_processes(write(tmp_path, files)) == 3


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("place", ["kubepods/pod1", "."])
@pytest.mark.parametrize(("quota", "processes"), [("350000", 3), ("-1", 1)])
def test_version_1(tmp_path: Path, mount: str, place: str, quota: str, processes: int) -> None:
    files = {
        "proc/self/cgroup": V1 + "/kubepods/pod1",
        f"sys/fs/cgroup/{mount}/{place}/cpu.cfs_quota_us": quota,
        f"sys/fs/cgroup/{mount}/{place}/cpu.cfs_period_us": "100000",
    }
    assert allowed_processes(write(tmp_path, files)) == processes


def test_without_any_limit_one_process_serves_however_large_the_machine(tmp_path: Path) -> None:
    assert allowed_processes(tmp_path) == 1
    assert allowed_processes(write(tmp_path, {"proc/self/cgroup": V2 + "/"})) == 1


def test_never_more_than_the_cpus_that_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7})
    root = write(tmp_path, {"proc/self/cgroup": V2 + "/", "sys/fs/cgroup/cpu.max": "800000 100000"})
    assert allowed_processes(root) == 2
