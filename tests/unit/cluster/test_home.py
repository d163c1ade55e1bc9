"""The directory of a cluster, and the commands around it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from cluster import cli, debian, home, preflight
from cluster.controlplane import ControlPlaneDriver
from cluster.drivers import Health
from cluster.errors import ClusterError, MissingError
from cluster.home import Home
from cluster.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("name", ["", "../up", "Big", "a/b", "-a", "x" * 33])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is no name for a cluster"):
        Home(name, tmp_path)


def test_a_cluster_knows_its_driver_until_it_is_removed(tmp_path: Path) -> None:
    where = Home("default", tmp_path)
    assert where.driver_name is None
    where.create("controlplane")
    assert where.driver_name == "controlplane"
    assert isinstance(where.driver("controlplane"), ControlPlaneDriver)
    assert home.names(tmp_path) == ["default"]
    where.remove()
    assert home.names(tmp_path) == []


class Fake:
    """A cluster that does as it is told to."""

    def __init__(self, *healths: Health) -> None:
        self.healths = list(healths)

    def health(self) -> Health:
        return self.healths.pop(0) if len(self.healths) > 1 else self.healths[0]


WELL = Health(ok=True, alive=True, lines=("well",))
BUSY = Health(ok=False, alive=True, lines=("API server is NOT ready",))
DEAD = Health(ok=False, alive=False, lines=("dead",))


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Home]:
    def make(*healths: Health, complete: bool = True) -> Home:
        where = Home("default", tmp_path)
        where.create("node")
        if complete:
            where.complete()
        monkeypatch.setattr(where, "driver", lambda _: Fake(*healths))
        monkeypatch.setattr(cli, "_PATIENCE_SECONDS", 0.0)
        return where

    return make


def test_a_cluster_that_runs_is_used_again(running: Callable[..., Home]) -> None:
    assert cli._runs(running(WELL), "node")


@pytest.mark.parametrize(("health", "complete"), [(DEAD, True), (WELL, False)])
def test_a_dead_cluster_and_one_that_never_came_up_may_be_cleared_away(
    running: Callable[..., Home], health: Health, complete: bool
) -> None:
    assert not cli._runs(running(health, complete=complete), "node")


@pytest.mark.parametrize(
    ("health", "wanted", "says"),
    [
        (BUSY, "node", r"does not do well \(API server is NOT ready\): end it with `down` first"),
        (WELL, "controlplane", "runs, but as node, not as controlplane"),
    ],
)
def test_a_living_cluster_is_never_cleared_away_unasked(
    running: Callable[..., Home], health: Health, wanted: str, says: str
) -> None:
    with pytest.raises(ClusterError, match=says):
        cli._runs(running(health), wanted)


def test_a_driver_of_another_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match='names the driver "minikube"'):
        Home("default", tmp_path).driver("minikube")


def test_two_checkouts_do_not_share_a_control_group(tmp_path: Path) -> None:
    assert Node(tmp_path / "one/default").cgroup != Node(tmp_path / "two/default").cgroup


def test_whoever_waits_for_the_lock_gets_it_although_its_file_is_removed(tmp_path: Path) -> None:
    inside: list[str] = []

    def enter(name: str) -> None:
        with Home("default", tmp_path).locked():
            inside.append(name)
            assert len(inside) == 1
            inside.remove(name)

    waiting = [threading.Thread(target=enter, args=(str(number),)) for number in range(8)]
    with Home("default", tmp_path).locked():
        for thread in waiting:
            thread.start()
    for thread in waiting:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in waiting)
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_missing_is_told_at_once_with_exit_code_2() -> None:
    with pytest.raises(MissingError) as told:
        preflight._refuse("This machine cannot run a node:", ["no root", "no openssl"])
    assert str(told.value) == "This machine cannot run a node:\n  - no root\n  - no openssl"
    assert told.value.exit_code == 2


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "is_installed", lambda _: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="sudo apt-get install --no-install-recommends buildah debootstrap"):
        debian.ensure(["buildah", "debootstrap"])


def test_installed_packages_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "is_installed", lambda _: True)
    debian.ensure(["buildah"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["load-image", "--name", "none", "/nowhere/a.tar"], "/nowhere/a.tar is no file; build the image first."),
        (["env", "--name", "none"], 'There is no cluster "none"; `up` starts one.'),
        (["nsenter", "--name", "none", "--", "true"], 'There is no cluster "none"; `up` starts one.'),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(home.Home.__init__, "__defaults__", (tmp_path,))
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == f"cluster: {says}\n"
