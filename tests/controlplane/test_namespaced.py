"""Operators of some namespaces beside one of the whole cluster: rights where they work, and no fight."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from cluster import ports
from controlplane.chart import CHART, RELEASE, Helm
from controlplane.conftest import kubectl_of
from controlplane.operator_process import NAMESPACE, OperatorProcess
from controlplane.services import Services
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cluster.controlplane import ControlPlane
    from controlplane.kubelet import Kubelet

    Kubectl = Callable[..., str]
    Start = Callable[..., OperatorProcess]


@pytest.fixture
def kubectl(plane: ControlPlane) -> Kubectl:
    return kubectl_of(plane)


@pytest.fixture
def start(plane: ControlPlane, kubelet: Kubelet, kubectl: Kubectl, tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts an installation with the rights that the chart gives it; it ends with the test."""
    del kubelet  # it only has to be there
    with ExitStack() as ends:

        def start(installation: str, namespaces: Sequence[str] = ()) -> OperatorProcess:
            directory = tmp_path / installation
            directory.mkdir()
            operator = OperatorProcess(
                kubectl,
                plane.kubeconfig,
                directory,
                ports.free(1)[0],
                elects=True,
                installation=installation,
                namespaces=namespaces,
            )
            operator.start()
            ends.callback(operator.stop)
            until(lambda: operator.metric("leading") == 1, f"{installation} leads")
            return operator

        yield start


def users_of(kubectl: Kubectl, *names: str) -> list[Services]:
    """Make namespaces where only restricted pods may run, and return the ModelServices in each."""
    for name in names:
        kubectl("create", "namespace", name)
        kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    found = [Services(kubectl, name) for name in names]
    for services in found:
        until(lambda services=services: services.all("serviceaccounts"), "the namespace is usable")  # type: ignore[misc]
    return found


def keeper(services: Services, name: str = "m") -> str:
    """Return the installation that the Service names as its keeper."""
    return str(services.get("service", name)["metadata"]["labels"]["modelservice.dev/installation"])


def refused(operator: OperatorProcess) -> set[str]:
    """Return what the API server has refused to this process: `list pods`."""
    series = r'^modelservice_operator_api_requests_total\{code="403",resource="(\w+)",verb="(\w+)"\}'
    found = re.findall(series, operator.metrics(), re.MULTILINE)
    return {f"{verb} {resource}" for resource, verb in found}


def test_each_serves_its_namespaces_and_nothing_else_also_beside_one_of_the_cluster(
    kubectl: Kubectl, start: Start
) -> None:
    red, pink, green, other = users_of(kubectl, "red", "pink", "green", "other")
    reds, greens = start("reds", ["red", "pink"]), start("greens", ["green"])
    bindings = json.loads(kubectl("get", "clusterrolebindings", "-o", "json"))["items"]
    accounts = [subject["name"] for binding in bindings for subject in binding.get("subjects") or ()]
    assert not [account for account in accounts if "modelservice" in account]

    for services in (red, pink, green, other):
        services.apply()
    for services, installation in ((red, "reds"), (pink, "reds"), (green, "greens")):
        services.until("Ready", "True")
        assert keeper(services) == installation
    assert "status" not in other.get("modelservice") or not other.get("modelservice")["status"].get("conditions")
    assert other.all("deployments,controllerrevisions") == []
    for operator in (reds, greens):
        assert refused(operator) == set()

    # One of the whole cluster takes what nobody keeps, and leaves the others theirs.
    before = {services.namespace: services.template_versions() for services in (red, pink, green)}
    whole = start("whole")
    other.until("Ready", "True")
    assert keeper(other) == "whole"
    until(lambda: whole.log.read_text().count("Left alone") == 3, "it has seen the others'")
    for services in (red, pink, green):
        services.kubectl("scale", "modelservice", "m", "--replicas=2")
        until(lambda services=services: services.get("modelservice")["status"]["readyReplicas"] == 2, "two serve")  # type: ignore[misc]
        assert keeper(services) in {"reds", "greens"}
        assert before[services.namespace].keys() == services.template_versions().keys()
    until(lambda: all(each.is_idle() for each in (reds, greens, whole)), "all have looked at everything")

    # The other way round: what the one of the cluster began, it keeps. Its Lease may not be read from here.
    assert greens.stop() == 0
    green.apply("late")
    green.until("Ready", "True", name="late")
    assert keeper(green, "late") == "whole"
    greens.start()
    until(lambda: "Left alone" in greens.log.read_text(), "it is left alone")
    assert f"lease {NAMESPACE}/modelservice-operator-whole counts as held" in greens.log.read_text()
    until(lambda: greens.metric("leading") == 1 and greens.is_idle(), "it has looked at everything")
    assert greens.writes() == 0
    assert refused(greens) == {"get leases"}


def test_one_goes_when_it_ends_and_one_of_the_cluster_takes_over(kubectl: Kubectl, start: Start) -> None:
    [blue] = users_of(kubectl, "blue")
    blues = start("blues", ["blue"])
    blue.apply()
    blue.until("Ready", "True")
    start("heirs")
    assert blues.stop() == 0
    until(lambda: keeper(blue) == "heirs", "it is taken over")
    blue.kubectl("scale", "modelservice", "m", "--replicas=2")
    until(lambda: blue.get("modelservice")["status"]["readyReplicas"] == 2, "two serve")


def test_doctor_in_a_pod_of_it_asks_about_its_namespaces_and_no_other(kubectl: Kubectl, start: Start) -> None:
    teal, cyan, other = users_of(kubectl, "teal", "cyan", "beige")
    operator = start("teals", ["teal", "cyan"])
    for services in (teal, cyan, other):
        services.apply()
    teal.until("Ready", "True")
    cyan.until("Ready", "True")
    status, text = operator.ask_doctor()
    assert (status, "WRONG" in text) == (0, False), text
    assert "2 of 2 ModelServices are ready" in text

    cyan.kubectl("delete", "rolebinding", "modelservice-operator-teals")
    until(lambda: operator.ask_doctor()[0] == 1, "doctor has noticed")
    wrong = [line for line in operator.ask_doctor()[1].splitlines() if "WRONG" in line]
    assert any("may not list, watch pods in namespace cyan." in line for line in wrong), wrong
    assert not [line for line in wrong if "teal." in line or "beige" in line]


def test_an_administrator_of_a_namespace_may_install_all_but_the_roles(
    plane: ControlPlane, kubectl: Kubectl, tmp_path: Path
) -> None:
    kubectl("create", "namespace", "mauve")
    kubectl("create", "rolebinding", "chief", "--namespace=mauve", "--clusterrole=admin", "--user=chief")
    ask = ("auth", "can-i", "create", "networkpolicies", "--namespace=mauve", "--as=chief")
    until(lambda: kubectl(*ask), "the role has its rules")
    helm = Helm(tmp_path / "helm", plane.kubeconfig)
    install = ("upgrade", "--install", RELEASE, CHART, "--namespace=mauve", "--kube-as-user=chief", "--set=replicas=0")
    values = "--set=watch.namespaces={mauve},crds.enabled=false"
    with pytest.raises(AssertionError, match="attempting to grant RBAC permissions not currently held"):
        helm(*install, values)
    helm(*install, values, "--set=rbac.create=false")
    assert json.loads(kubectl("get", "deployment", RELEASE, "--namespace=mauve", "-o", "json"))["spec"]["replicas"] == 0
