"""ServiceMonitors on a real API server, whose API appears and vanishes while the operator runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cluster import ports
from cluster.controlplane import ControlPlane
from cluster.definitions import definition
from controlplane.conftest import install_crd, kubectl_of
from controlplane.operator_process import OperatorProcess
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Kubectl = Callable[..., str]
    Object = dict[str, Any]

KIND = "servicemonitors.monitoring.coreos.com"


class World:
    """The users' namespace, and the administrator's doings: the operator, and the API that comes and goes."""

    def __init__(self, kubectl: Kubectl, operator: OperatorProcess) -> None:
        self.kubectl, self.operator = kubectl, operator

    def configure(self, **monitoring: object) -> None:
        """Start the operator anew with other settings."""
        self.operator.stop()
        config = json.loads(self.operator.config.read_text())
        self.operator.config.write_text(json.dumps(config | {"monitoring": monitoring}))
        self.operator.start()

    def install_api(self) -> None:
        self.kubectl("apply", "--server-side", f"--filename={definition('servicemonitors', 'monitoring.coreos.com')}")
        until(lambda: self.told() == "can be used", "the operator knows of the API")

    def remove_api(self) -> None:
        """Returns once the definition is gone, which waits for all that is defined by it."""
        self.kubectl("delete", "crd", KIND, "--timeout=30s")
        until(lambda: self.told() == "cannot be used: the cluster does not serve it", "the operator knows of the loss")

    def told(self) -> str:
        """Return what the operator said last of the API."""
        lines = [line for line in self.operator.log.read_text().splitlines() if f"apis: {KIND} " in line]
        return lines[-1].partition(f"{KIND} ")[2] if lines else ""

    def apply(self, *names: str, **spec: object) -> None:
        """Apply services, and wait until nothing is left to be done for them."""
        for name in names:
            body = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}}
            self.kubectl("apply", "-f", "-", stdin=body | {"spec": {"model": {"uri": "file:///models/m"}} | spec})
        made = {f"{name}-metrics" for name in names}
        until(lambda: made <= self.names("services") and self.operator.is_idle(), f"{names} have all their children")

    def names(self, kind: str) -> set[str]:
        return {name.partition("/")[2] for name in self.kubectl("get", kind, "-o", "name").split()}

    def monitors(self) -> dict[str, Object]:
        items = json.loads(self.kubectl("get", KIND, "-o", "json"))["items"]
        return {each["metadata"]["name"].removesuffix("-metrics"): each for each in items}

    def until_monitored(self, *services: str) -> None:
        until(lambda: self.monitors().keys() == {*services} and self.operator.is_idle(), f"{services} are monitored")

    def condition(self, name: str, kind: str) -> Object:
        status = json.loads(self.kubectl("get", "modelservice", name, "-o", "json"))["status"]
        return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("monitors") / "cluster", controllers=True) as plane:
        install_crd(plane)
        yield plane


@pytest.fixture
def world(plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    """A cluster that has neither services nor the API, before and after; the operator runs."""
    kubectl = kubectl_of(plane)
    operator = OperatorProcess(kubectl, plane.kubeconfig, tmp_path, ports.free(1)[0])
    operator.start()
    yield World(kubectl, operator)
    assert operator.stop() == 0
    kubectl("delete", "modelservices", "--all")
    kubectl("delete", "crd", KIND, "--ignore-not-found")


def test_the_api_is_used_when_it_appears_and_left_alone_when_it_vanishes(world: World) -> None:
    world.apply("m", "n")
    assert world.told() == "cannot be used: the cluster does not serve it"
    sent = world.operator.writes()

    world.install_api()
    world.until_monitored("m", "n")
    assert world.operator.writes() - sent == 2
    world.kubectl("delete", KIND, "m-metrics")
    world.until_monitored("m", "n")
    assert world.operator.writes() - sent == 3

    world.remove_api()
    until(world.operator.is_idle, "everything was looked at")
    assert world.operator.writes() - sent == 3
    world.apply("o")
    world.kubectl("delete", "modelservice", "m", "o")
    until(lambda: world.names("services") == {"kubernetes", "n", "n-metrics"}, "nothing else is left")

    world.install_api()
    world.until_monitored("n")
    said = world.operator.log.read_text()
    assert not [line for line in said.splitlines() if " INFO " not in line], said
    assert "Monitor" not in world.kubectl("get", "modelservices", "-o", "json")  # nobody asked


def test_the_end_of_the_api_is_not_held_up_by_many_service_monitors(world: World) -> None:
    world.install_api()
    services = [f"m{number}" for number in range(30)]
    world.apply(*services)
    world.until_monitored(*services)
    sent = world.operator.writes()
    world.remove_api()
    until(world.operator.is_idle, "everything was looked at")
    assert world.operator.writes() == sent


def test_a_restart_writes_nothing_and_settings_are_followed(world: World) -> None:
    world.install_api()
    world.apply("m")
    world.until_monitored("m")
    world.configure()
    world.kubectl("annotate", "modelservice", "m", "look=again")
    until(world.operator.is_idle, "everything was looked at")
    assert world.operator.writes() == 0

    world.configure(labels={"release": "prometheus"}, annotations=False)
    until(lambda: world.monitors()["m"]["metadata"]["labels"].get("release") == "prometheus", "it is labelled")
    scraped = json.loads(world.kubectl("get", "service", "m-metrics", "-o", "json"))
    assert "prometheus.io/scrape" not in scraped["metadata"]["annotations"]

    world.configure(serviceMonitors=False)
    world.until_monitored()
    until(lambda: "prometheus.io/scrape" in world.kubectl("get", "service", "m-metrics", "-o", "json"), "it is marked")


def test_a_service_without_metrics_has_no_service_monitor_any_more(world: World) -> None:
    world.install_api()
    world.apply("m")
    world.until_monitored("m")
    world.apply("m", runtime={"name": "Custom", "image": "example/server:1"})
    world.until_monitored()


def test_a_foreign_service_monitor_of_the_name_is_left_alone_and_named(world: World) -> None:
    world.install_api()
    foreign = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "m-metrics"}}
    world.kubectl("create", "-f", "-", stdin=foreign | {"spec": {"endpoints": [], "selector": {}}})
    before = world.monitors()
    world.apply("m")
    stalled = until(lambda: world.condition("m", "Stalled"), "the service is stalled")
    assert stalled["reason"] == "NameConflict"
    assert "ServiceMonitor 'm-metrics'" in stalled["message"]
    assert "prometheus.io/scrape" in world.kubectl("get", "service", "m-metrics", "-o", "json")
    assert world.monitors() == before
    world.kubectl("annotate", KIND, "m-metrics", "modelservice.dev/adopt=m")
    world.kubectl("annotate", "modelservice", "m", "try=again")
    until(lambda: not world.condition("m", "Stalled"), "the service goes on")
    assert world.monitors()["m"]["metadata"]["ownerReferences"][0]["kind"] == "ModelService"
