"""ServiceMonitors on a real API server, whose API appears and vanishes while the operator runs."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster import binaries, ports
from cluster.definitions import definition
from controlplane.conftest import kubectl_of, remove_definition
from controlplane.operator_process import OperatorProcess
from sizes import only_full
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cluster.controlplane import ControlPlane

    Kubectl = Callable[..., str]
    Object = dict[str, Any]

KIND = "servicemonitors.monitoring.coreos.com"
PROMETHEUS = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "Prometheus",
    "metadata": {"name": "p"},
    "spec": {
        "serviceMonitorSelector": {"matchLabels": {"release": "prometheus"}},
        "serviceDiscoveryRole": "EndpointSlice",
    },
}
ALERTMANAGER = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "Alertmanager",
    "metadata": {"name": "am"},
    "spec": {"alertmanagerConfigSelector": {"matchLabels": {"alerts": "models"}}},
}
ALERTING = {"alerting": {"receiver": {"webhook": {"urlSecretRef": {"name": "alerts", "key": "url"}}}}}


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

    @contextmanager
    def definitions(self, *plurals: str) -> Iterator[None]:
        """More kinds of the API, for a while."""
        files = [f"--filename={definition(plural, 'monitoring.coreos.com')}" for plural in plurals]
        self.kubectl("apply", "--server-side", *files)
        usable = [f"apis: {plural}.monitoring.coreos.com can be used" for plural in plurals]
        until(lambda: all(map(self.operator.log.read_text().__contains__, usable)), f"{plurals} can be used")
        try:
            yield
        finally:
            self.kubectl("delete", *files, "--timeout=60s")

    def remove_api(self) -> None:
        """Returns once the definition is gone, which waits for all that is defined by it."""
        remove_definition(self.kubectl, KIND)
        until(lambda: self.told() == "cannot be used: the cluster does not serve it", "the operator knows of the loss")

    def told(self) -> str:
        """Return what the operator said last of the API."""
        lines = [line for line in self.operator.log.read_text().splitlines() if f"apis: {KIND} " in line]
        return lines[-1].partition(f"{KIND} ")[2] if lines else ""

    def apply(self, *names: str, **spec: object) -> None:
        """Apply services without pods, which nothing changes later, and wait until no more is to be done for them."""
        for name in names:
            body = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}}
            wanted = {"model": {"uri": "file:///models/m"}, "replicas": 0}
            self.kubectl("apply", "-f", "-", stdin=body | {"spec": wanted | spec})
        until(lambda: all(map(self.is_settled, self.services())) and self.operator.is_idle(), "all is settled")

    def services(self) -> list[Object]:
        found: list[Object] = json.loads(self.kubectl("get", "modelservices", "-o", "json"))["items"]
        return found

    def is_settled(self, service: Object) -> bool:
        """Tell whether the latest spec is in force, or cannot be."""
        conditions = {each["type"]: each["status"] for each in service["status"].get("conditions", ())}
        is_current = service["status"]["observedGeneration"] == service["metadata"]["generation"]
        return is_current and "True" in {conditions.get("Ready"), conditions.get("Stalled")}

    def names(self, kind: str) -> set[str]:
        return {name.partition("/")[2] for name in self.kubectl("get", kind, "-o", "name").split()}

    def monitors(self) -> dict[str, Object]:
        items = json.loads(self.kubectl("get", KIND, "-o", "json"))["items"]
        return {each["metadata"]["name"].removesuffix("-metrics"): each for each in items}

    def until_monitored(self, *services: str) -> None:
        until(lambda: self.monitors().keys() == {*services} and self.operator.is_idle(), f"{services} are monitored")

    def condition(self, name: str, kind: str) -> Object:
        [service] = [each for each in self.services() if each["metadata"]["name"] == name]
        return next((each for each in service["status"]["conditions"] if each["type"] == kind), {})


@pytest.fixture
def world(plane: ControlPlane, tmp_path: Path) -> Iterator[World]:
    """A cluster that has neither services nor the API, before and after; the operator runs."""
    kubectl = kubectl_of(plane)
    operator = OperatorProcess(kubectl, plane.kubeconfig, tmp_path, ports.free(1)[0])
    operator.start()
    yield World(kubectl, operator)
    assert operator.stop() == 0
    kubectl("delete", "modelservices", "--all")
    remove_definition(kubectl, KIND)


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
    alarms = [line for line in world.operator.log.read_text().splitlines() if " INFO " not in line]
    assert not [line for line in alarms if KIND in line or "NotFound" in line]
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
    stalled = world.condition("m", "Stalled")
    assert stalled["reason"] == "NameConflict"
    assert "ServiceMonitor 'm-metrics'" in stalled["message"]
    assert "prometheus.io/scrape" in world.kubectl("get", "service", "m-metrics", "-o", "json")
    assert world.monitors() == before
    world.kubectl("annotate", KIND, "m-metrics", "modelservice.dev/adopt=m")
    world.kubectl("annotate", "modelservice", "m", "try=again")
    until(lambda: not world.condition("m", "Stalled"), "the service goes on")
    assert world.monitors()["m"]["metadata"]["ownerReferences"][0]["kind"] == "ModelService"


def test_it_gets_the_label_that_the_clusters_prometheus_selects(world: World) -> None:
    world.install_api()
    world.apply("m")
    world.until_monitored("m")

    def label() -> str:
        found: str = world.monitors()["m"]["metadata"]["labels"].get("release", "")
        return found

    assert label() == ""
    with world.definitions("prometheuses"):
        world.kubectl("create", "-f", "-", stdin=PROMETHEUS)
        until(lambda: label() == "prometheus", "it has the label", details=world.operator.log.read_text)
        sent = world.operator.writes()
        world.kubectl("annotate", "prometheus", "p", "look=again")
        world.kubectl("label", "namespace", "default", "look=again", "--overwrite")
        until(world.operator.is_idle, "everything was looked at")
        assert world.operator.writes() == sent
        world.configure()
        until(world.operator.is_idle, "everything was looked at")
        assert world.operator.writes() == 0
        selects_all = {"spec": {"serviceMonitorSelector": {"matchLabels": None}}}
        world.kubectl("patch", "prometheus", "p", "--type=merge", f"--patch={json.dumps(selects_all)}")
        until(lambda: label() == "", "the label is gone, as nobody needs it")


def test_who_asks_to_be_told_learns_what_is_missing_until_everything_is_there(world: World) -> None:
    def told(*expected: str) -> str:
        """Return the message of condition Monitored once it has this status and reason."""
        found: Object = {}

        def is_so() -> bool:
            found.update(world.condition("m", "Monitored"))
            return [found.get("status"), found.get("reason")] == [*expected]

        until(is_so, f"Monitored is {expected}", details=lambda: f"{found}\n{world.operator.log.read_text()}")
        return str(found["message"])

    world.install_api()
    world.apply("m", monitoring=ALERTING)
    assert "ServiceMonitor m-metrics" in told("False", "NotSelected")
    with world.definitions("prometheuses", "alertmanagers", "alertmanagerconfigs"):
        world.kubectl("create", "-f", "-", stdin=PROMETHEUS)
        assert "AlertmanagerConfig m-alerts" in told("False", "NotSelected")
        world.kubectl("create", "-f", "-", stdin=ALERTMANAGER)
        told("True", "Selected")
        labels = json.loads(world.kubectl("get", "alertmanagerconfig", "m-alerts", "-o", "json"))["metadata"]["labels"]
        assert labels["alerts"] == "models"
        wanted = {"spec": {"alertmanagerConfigSelector": {"matchLabels": {"alerts": None, "managed-by": "people"}}}}
        world.configure(labels={"release": "prometheus"})
        world.kubectl("patch", "alertmanager", "am", "--type=merge", f"--patch={json.dumps(wanted)}")
        message = told("False", "NotSelected")
        assert "Alertmanager default/am wants the label managed-by: people on it." in message
        world.apply("m", monitoring={})
        assert world.names("alertmanagerconfigs") == set()
        assert not world.condition("m", "Monitored")


@only_full("builds a large peer")
def test_the_prometheus_operator_accepts_what_it_finds(world: World, plane: ControlPlane, tmp_path: Path) -> None:
    definitions = definition("servicemonitors", "monitoring.coreos.com").parent
    world.kubectl("apply", "--server-side", f"--filename={definitions}")
    world.kubectl("create", "-f", "-", stdin=PROMETHEUS)
    world.kubectl("create", "-f", "-", stdin=ALERTMANAGER)
    world.kubectl("create", "secret", "generic", "alerts", "--from-literal=url=http://127.0.0.1:1/")
    world.apply("m", monitoring=ALERTING)
    until(lambda: world.condition("m", "Monitored").get("status") == "True", "our objects are selected")
    sent = world.operator.writes()
    options = ("--kubelet-service=", "--prometheus-config-reloader=example/reloader:1")
    remarks = "--feature-gates=StatusForConfigurationResources=true"
    address = f"--web.listen-address=127.0.0.1:{ports.free(1)[0]}"
    environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig)}
    log = tmp_path / "prometheus-operator.log"
    with log.open("wb") as output:
        command = [binaries.path("prometheus-operator"), *options, remarks, address]
        peer = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:

            def accepted() -> bool:
                bindings = world.monitors()["m"].get("status", {}).get("bindings", ())
                return [each["status"] for binding in bindings for each in binding["conditions"]] == ["True"]

            until(accepted, "our ServiceMonitor is accepted", details=log.read_text)
            secret = json.loads(world.kubectl("get", "secret", "prometheus-p", "-o", "json"))["data"]
            config = yaml.safe_load(gzip.decompress(base64.b64decode(secret["prometheus.yaml.gz"])))
            [job] = config["scrape_configs"]
            assert job["job_name"] == "serviceMonitor/default/m-metrics/0"
            assert {"modelservice", "revision"} <= {each.get("target_label") for each in job["relabel_configs"]}
            until(
                lambda: "m-alerts" in alertmanager_file(world), "the Alertmanager has our routes", details=log.read_text
            )
            config_file = tmp_path / "alertmanager.yaml"
            config_file.write_text(alertmanager_file(world))
            amtool("check-config", str(config_file))
            for severity in ("critical", "warning"):
                alert = [f"severity={severity}", "alertname=ModelServiceFailing"]
                assert receiver(config_file, *alert, "namespace=default", "modelservice=m").endswith(severity)
                assert receiver(config_file, *alert, "namespace=other", "modelservice=m") == "null"
                assert receiver(config_file, *alert, "namespace=default", "modelservice=n") == "null"
            assert world.operator.writes() == sent  # its remarks are in the status of our objects, and change nothing
        finally:
            for each in ("prometheus/p", "alertmanager/am"):  # they have finalizers
                world.kubectl("delete", each, "--ignore-not-found", "--timeout=30s")
            world.kubectl("delete", "secret", "alerts")
            peer.terminate()
            peer.wait(timeout=30)
            world.kubectl("delete", f"--filename={definitions}", "--timeout=60s")


def alertmanager_file(world: World) -> str:
    """Return what the Prometheus Operator has made of our AlertmanagerConfig, among others; empty before."""
    found = world.kubectl("get", "secret", "alertmanager-am-generated", "--ignore-not-found", "-o", "json")
    return (
        gzip.decompress(base64.b64decode(json.loads(found)["data"]["alertmanager.yaml.gz"])).decode() if found else ""
    )


def amtool(*arguments: str) -> str:
    done = subprocess.run([binaries.path("amtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def receiver(config_file: Path, *labels: str) -> str:
    """Return who is told of an alert with these labels."""
    return amtool("config", "routes", "test", f"--config.file={config_file}", *labels).strip()
