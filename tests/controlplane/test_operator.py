"""The operator on a real API server, with real controllers and scheduler and the rights that the chart gives it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cluster import binaries, ports
from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd, kubectl_of
from controlplane.kubelet import Kubelet, crashing, serving
from controlplane.operator_process import OperatorProcess
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Kubectl = Callable[..., str]
    Object = dict[str, Any]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("operator") / "cluster", controllers=True) as plane:
        install_crd(plane)
        yield plane


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Kubectl:
    return kubectl_of(plane)


@pytest.fixture(scope="module")
def operator(
    plane: ControlPlane, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    operator = OperatorProcess(kubectl, plane.kubeconfig, tmp_path_factory.mktemp("process"), ports.free(1)[0])
    operator.configure(**{"nvidia-t4": {"resource": "nvidia.com/gpu"}})
    operator.start()
    yield operator
    assert operator.stop() == 0


@pytest.fixture(scope="module")
def kubelet(plane: ControlPlane) -> Iterator[Kubelet]:
    with Kubelet(plane.kubeconfig, "n1", **{"nvidia.com/gpu": "4"}).running() as kubelet:
        yield kubelet


class Services:
    """ModelServices of one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl, self.namespace = kubectl, namespace

    def apply(self, name: str = "m", **spec: object) -> None:
        """Apply a ModelService as a user does."""
        body = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}}
        self.kubectl("apply", "-f", "-", stdin=body | {"spec": {"model": {"uri": "file:///models/m"}} | spec})

    def kubectl(self, *arguments: str, stdin: object = None) -> str:
        return self._kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def get(self, kind: str, name: str = "m") -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def all(self, kinds: str) -> list[Object]:
        found: list[Object] = json.loads(self.kubectl("get", kinds, "-o", "json"))["items"]
        return found

    def condition(self, kind: str, name: str = "m") -> Object:
        """Return the condition of the latest generation, else nothing."""
        service = self.get("modelservice", name)
        for condition in (service.get("status") or {}).get("conditions") or ():
            current = condition["observedGeneration"] == service["metadata"]["generation"]
            if condition["type"] == kind and current:
                return dict(condition)
        return {}

    def until(self, kind: str, status: str, reason: str = "", name: str = "m") -> Object:
        def holds() -> Object:
            found = self.condition(kind, name)
            assert found.get("status") == status, found
            assert not reason or found["reason"] == reason, found
            return found

        return until(holds, f"{kind} is {status} {reason}")

    def template_versions(self) -> dict[str, int]:
        """Return the generation of each Deployment: it grows with every change of its spec."""
        return {each["metadata"]["name"]: each["metadata"]["generation"] for each in self.all("deployments")}


@pytest.fixture
def services(
    kubectl: Kubectl, operator: OperatorProcess, kubelet: Kubelet, request: pytest.FixtureRequest
) -> Iterator[Services]:
    del operator
    kubelet.state_of = lambda _: serving()
    namespace = f"test-{abs(hash(request.node.name)) % 10**8}"
    kubectl("create", "namespace", namespace)
    until(
        lambda: kubectl("get", "serviceaccounts", f"--namespace={namespace}", "-o", "name"), "the namespace is usable"
    )
    services = Services(kubectl, namespace)
    yield services
    services.kubectl("delete", "modelservices", "--all")  # the next test needs the node's devices


def test_a_service_becomes_ready_with_its_children(services: Services) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True", "Ready")
    service = services.get("modelservice")
    assert service["status"]["observedGeneration"] == service["metadata"]["generation"]
    assert service["status"]["readyReplicas"] == 2
    assert service["status"]["url"] == f"http://m.{services.namespace}.svc:8080"
    revision = service["status"]["revisions"][0]
    assert revision["role"] == "Stable"
    assert services.get("service")["spec"]["selector"]["modelservice.dev/revision"] == revision["name"]
    pin = services.get("configmap", revision["name"])
    assert revision["model"] == f"file:///models/m@{pin['data']['digest']}"


def test_metadata_of_people_rolls_no_pod_and_writes_nothing(services: Services, operator: OperatorProcess) -> None:
    services.apply(resources={"requests": {"cpu": "1000m", "memory": "1Gi"}})
    services.until("Ready", "True")
    before, sent = services.template_versions(), operator.writes()
    services.kubectl("annotate", "modelservice", "m", "note=hello")
    services.kubectl("label", "modelservice", "m", "team=nlp")
    services.apply(resources={"requests": {"cpu": 1, "memory": "1024Mi"}}, startupTimeout="600s")
    services.until("Ready", "True")
    assert services.template_versions() == before
    assert operator.writes() - sent <= 1  # the new observedGeneration


def test_a_restart_writes_nothing(services: Services, operator: OperatorProcess) -> None:
    services.apply(replicas=2)
    services.apply("other", runtime={"name": "Custom", "image": "example/server:1", "metricsPath": "/m"})
    services.until("Ready", "True")
    services.until("Ready", "True", name="other")
    versions = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in services.all("all")}
    operator.kill()
    operator.start()
    services.kubectl("annotate", "modelservice", "m", "look=again")  # looked at after everything else was
    services.kubectl("annotate", "modelservice", "other", "look=again")
    until(operator.is_idle, "the operator has looked at everything")
    assert operator.writes() == 0
    after = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in services.all("all")}
    annotated = {each["metadata"]["uid"] for each in services.all("modelservices")}
    assert {uid: v for uid, v in after.items() if uid not in annotated} == {
        uid: v for uid, v in versions.items() if uid not in annotated
    }


def test_a_foreign_service_of_the_name_is_left_alone_and_named(services: Services) -> None:
    services.kubectl("create", "service", "clusterip", "m", "--tcp=80:80")
    foreign = services.get("service")
    services.apply()
    stalled = services.until("Stalled", "True", "NameConflict")
    assert "Service 'm'" in stalled["message"]
    services.until("Ready", "False", "NameConflict")
    assert services.get("service") == foreign
    services.kubectl("delete", "service", "m")
    services.kubectl("annotate", "modelservice", "m", "try=again")
    services.until("Ready", "True")


def test_a_foreign_service_is_taken_over_when_its_owner_hands_it_over(services: Services) -> None:
    services.kubectl("create", "service", "clusterip", "m", "--tcp=8080:8080")
    services.kubectl("annotate", "service", "m", "modelservice.dev/adopt=m")
    services.apply()
    services.until("Ready", "True")
    assert services.get("service")["metadata"]["ownerReferences"][0]["kind"] == "ModelService"


def test_an_unknown_accelerator_class_is_told_and_the_old_revision_serves_on(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    services.apply(accelerator={"class": "nvidia-l4"})
    stalled = services.until("Stalled", "True", "UnknownAcceleratorClass")
    assert '"nvidia-l4" is not defined; the administrator\'s classes are: nvidia-t4' in stalled["message"]
    assert services.condition("Available")["status"] == "True"
    services.kubectl("scale", "modelservice", "m", "--replicas=2")  # goes on although the spec cannot be met
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "two pods are ready")
    services.apply(accelerator={"class": "nvidia-t4"})
    services.until("Ready", "True")


def test_a_bad_overlay_is_told_and_a_mended_one_recovers(services: Services) -> None:
    services.apply(podTemplate={"spec": {"containers": [{"image": "sidecar"}]}})
    assert "needs name" in services.until("Stalled", "True", "BadOverlay")["message"]
    services.apply(podTemplate={"spec": {"containers": [{"name": "server", "tty": "perhaps"}]}})
    assert "tty" in services.until("Stalled", "True", "Rejected")["message"]
    services.apply(podTemplate={"spec": {"nodeSelector": {"kubernetes.io/os": None}}})
    services.until("Ready", "True")


def test_a_new_revision_that_crashes_is_told_and_the_old_one_serves(services: Services, kubelet: Kubelet) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True")
    stable = services.get("modelservice")["status"]["revisions"][0]["name"]
    kubelet.state_of = lambda labels: (
        serving() if labels["modelservice.dev/revision"] == stable or "bad" not in labels else crashing("no such file")
    )
    services.apply(replicas=2, podTemplate={"metadata": {"labels": {"bad": "yes"}}})
    ready = services.until("Ready", "False", "CrashLoop")
    assert "no such file" in ready["message"]
    assert services.condition("Available")["status"] == "True"
    assert services.get("service")["spec"]["selector"]["modelservice.dev/revision"] == stable
    services.apply(replicas=2)
    services.until("Ready", "True")


def test_a_changed_spec_goes_over_pod_by_pod(services: Services) -> None:
    services.apply(replicas=3)
    services.until("Ready", "True")
    services.apply(replicas=3, runtime={"args": ["--drain-delay=1s"]})
    services.until("Ready", "True")
    status = services.get("modelservice")["status"]
    assert [(each["role"], each["ready"], each["weight"]) for each in status["revisions"]] == [("Stable", 3, "100%")]
    ledger = {each["metadata"]["name"]: each for each in services.all("controllerrevisions")}
    assert len(ledger) == 2
    promoted = ledger[status["revisions"][0]["name"]]["metadata"]["annotations"]
    assert promoted["modelservice.dev/promotion"] == "2"
    until(lambda: len(services.all("deployments")) == 1, "the previous Deployment is gone")


def test_absent_replicas_hold_the_number_that_runs_and_scale_works(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    assert services.get("modelservice")["spec"]["replicas"] == 1
    services.kubectl("scale", "modelservice", "m", "--replicas=3")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 3, "three pods are ready")
    services.kubectl("patch", "modelservice", "m", "--type=json", "-p", '[{"op": "remove", "path": "/spec/replicas"}]')
    until(lambda: services.get("modelservice")["spec"].get("replicas") == 3, "the number that runs is written back")
    services.until("Ready", "True")


def test_a_fifth_pod_without_a_device_waits_in_the_scheduler_s_words(services: Services) -> None:
    services.apply(replicas=5, accelerator={"resource": "nvidia.com/gpu"})
    scheduled = services.until("Scheduled", "False", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in scheduled["message"]
    services.until("Available", "True")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 4, "four pods serve")
    assert services.condition("Ready")["reason"] == "WaitingForCapacity"
    services.kubectl("scale", "modelservice", "m", "--replicas=4")
    services.until("Ready", "True")
    services.kubectl("delete", "modelservice", "m")
    until(lambda: not services.all("pods"), "the devices are free again")


def test_paused_holds_a_new_revision(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    before = services.template_versions()
    services.apply(rollout={"paused": True}, runtime={"args": ["--x"]})
    services.until("Ready", "False", "Paused")
    assert {name: v for name, v in services.template_versions().items() if name in before} == before
    services.apply(rollout={"paused": False}, runtime={"args": ["--x"]})
    services.until("Ready", "True")


def test_kstatus_reads_the_same_health_as_we_do(services: Services, kubelet: Kubelet) -> None:
    def kstatus() -> str:
        body = json.dumps(services.get("modelservice"))
        return subprocess.run(
            [str(binaries.path("kstatus"))], input=body, text=True, capture_output=True, check=True
        ).stdout

    kubelet.state_of = lambda _: None
    services.apply()
    services.until("Ready", "False")
    assert "InProgress" in kstatus()
    kubelet.state_of = lambda _: serving()
    services.until("Ready", "True")
    assert "Current" in kstatus()
    services.apply(accelerator={"class": "none-such"})
    services.until("Stalled", "True")
    assert "Failed" in kstatus()
