"""The operator as a guest: what its children do to those who empty nodes, edit, rewrite and forbid in a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cluster import ports
from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd, kubectl_of
from controlplane.kubelet import Kubelet, crashing, serving
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Kubectl = Callable[..., str]
    Object = dict[str, Any]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("guest") / "cluster", controllers=True) as plane:
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
    operator.start()
    yield operator
    assert operator.stop() == 0


@pytest.fixture(scope="module")
def kubelet(plane: ControlPlane) -> Iterator[Kubelet]:
    with Kubelet(plane.kubeconfig, "n1").running() as kubelet:
        yield kubelet


@pytest.fixture
def services(operator: OperatorProcess, kubelet: Kubelet, kubectl: Kubectl, namespace: str) -> Services:
    del operator
    kubelet.state_of = lambda _: serving()
    until(
        lambda: kubectl("get", "serviceaccounts", f"--namespace={namespace}", "-o", "name"), "the namespace is usable"
    )
    return Services(kubectl, namespace)


# -- those who empty nodes


def evict(services: Services, pod: str) -> str:
    """Ask for the pod to go, as `kubectl drain` does; return what the API server says if it does not let it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": services.namespace}}
    path = f"/api/v1/namespaces/{services.namespace}/pods/{pod}/eviction"
    try:
        services.kubectl("create", f"--raw={path}", "--filename=-", stdin=body)
    except AssertionError as refused:
        return str(refused)
    return ""


def pods(services: Services) -> dict[str, str]:
    """Return the revision of every pod that is not on its way out."""
    staying = [each["metadata"] for each in services.all("pods") if "deletionTimestamp" not in each["metadata"]]
    return {metadata["name"]: metadata["labels"]["modelservice.dev/revision"] for metadata in staying}


def until_allowed(services: Services, evictions: int) -> None:
    """Wait until the budget has counted what there is and would let so many pods go."""

    def counted() -> bool:
        budget = services.get("poddisruptionbudget")
        assert budget["status"]["disruptionsAllowed"] == evictions, budget["status"]
        return bool(budget["status"]["observedGeneration"] == budget["metadata"]["generation"])

    until(counted, f"{evictions} pods may go")


def test_of_the_pods_that_serve_one_at_a_time_may_go(services: Services, kubelet: Kubelet) -> None:
    services.apply(replicas=3)
    services.until("Ready", "True")
    until_allowed(services, 1)
    kubelet.state_of = lambda _: None
    known = pods(services)
    first, second, _ = known
    assert evict(services, first) == ""
    until_allowed(services, 0)
    assert "violate the pod's disruption budget" in evict(services, second)
    until(lambda: len(pods(services)) == 3, "its successor is there")
    (successor,) = pods(services).keys() - known.keys()
    status = json.dumps({"status": crashing("no such file")})
    services.kubectl("patch", "pod", successor, "--subresource=status", f"--patch={status}")
    assert evict(services, successor) == "", "a pod that does not serve holds up nobody"
    kubelet.state_of = lambda _: serving()
    until_allowed(services, 1)
    assert evict(services, second) == ""


def test_the_only_pod_may_go(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    until_allowed(services, 1)
    (only,) = pods(services)
    assert evict(services, only) == ""


def test_a_roll_that_is_stuck_holds_up_nobody(services: Services, kubelet: Kubelet) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True")
    stable = services.revisions()[0]["name"]
    services.apply(replicas=2, runtime={"args": ["--x"]})
    until(lambda: [each["weight"] for each in services.revisions()] == ["67%", "33%"], "three pods share the traffic")
    kubelet.state_of = lambda _: None  # the next one never comes up
    until(lambda: sorted(pods(services).values()).count(stable) == 1, "an old pod has gone")
    until(lambda: len(pods(services)) == 3, "the next one is there")
    until_allowed(services, 1)
    (old,) = [pod for pod, revision in pods(services).items() if revision == stable]
    assert evict(services, old) == ""
    kubelet.state_of = lambda _: serving()
    services.until("Ready", "True")


def test_a_stray_pod_with_the_labels_does_not_spoil_the_count(services: Services) -> None:
    services.apply(replicas=2)
    services.until("Ready", "True")
    labels = {"modelservice.dev/name": "m", "modelservice.dev/revision": services.revisions()[0]["name"]}
    stray = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": labels}}
    services.kubectl("create", "-f", "-", stdin=stray | {"spec": {"containers": [{"name": "c", "image": "x"}]}})
    until(lambda: services.get("poddisruptionbudget")["status"]["expectedPods"] == 3, "it is counted")
    assert services.get("poddisruptionbudget")["status"]["disruptionsAllowed"] >= 1


# -- those who separate networks


def test_a_network_policy_changes_at_once_and_rolls_nothing(services: Services) -> None:
    services.apply()
    services.until("Ready", "True")
    before = services.template_versions()
    assert "Egress" not in services.get("networkpolicy")["spec"]["policyTypes"]
    peers = [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    ]
    services.apply(security={"networkPolicy": {"allowFrom": peers, "egress": "Restricted"}})
    until(lambda: services.get("networkpolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"], "it is restricted")
    assert services.get("networkpolicy")["spec"]["ingress"][0]["from"] == peers
    wide = '[{"op": "add", "path": "/spec/ingress/-", "value": {}}]'
    services.kubectl("patch", "networkpolicy", "m", "--type=json", f"--patch={wide}")
    until(lambda: len(services.get("networkpolicy")["spec"]["ingress"]) == 2, "what others open is closed again")
    services.apply(security={"networkPolicy": {"enabled": False}})
    until(lambda: not services.all("networkpolicies"), "there is none any more")
    services.apply()
    until(lambda: services.all("networkpolicies"), "there is one again")
    services.until("Ready", "True")
    assert services.template_versions() == before


def test_what_the_api_server_refuses_of_a_policy_is_told_and_holds_up_nothing_else(services: Services) -> None:
    services.apply(security={"networkPolicy": {"allowFrom": [{"podSelector": {"matchLabels": {"a b": "c"}}}]}})
    stalled = services.until("Stalled", "True", "Rejected")
    assert "spec.ingress[0].from[0].podSelector.matchLabels" in stalled["message"]
    services.until("Available", "True")
    services.kubectl("scale", "modelservice", "m", "--replicas=2")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "two pods are ready")
    assert services.get("poddisruptionbudget")["spec"]["minAvailable"] == 1
    services.apply(replicas=2)
    services.until("Ready", "True")


def test_a_foreign_budget_of_the_name_is_left_alone_and_named_and_holds_up_nothing_else(services: Services) -> None:
    services.kubectl("create", "poddisruptionbudget", "m", "--selector=app=m", "--min-available=1")
    foreign = services.get("poddisruptionbudget")["spec"]
    services.apply()
    stalled = services.until("Stalled", "True", "NameConflict")
    assert "PodDisruptionBudget 'm'" in stalled["message"]
    services.until("Available", "True")
    assert services.get("poddisruptionbudget")["spec"] == foreign
    assert services.all("networkpolicies")
    services.kubectl("annotate", "poddisruptionbudget", "m", "modelservice.dev/adopt=m")
    services.kubectl("annotate", "modelservice", "m", "try=again")
    services.until("Ready", "True")
    assert services.get("poddisruptionbudget")["spec"]["minAvailable"] == 0
