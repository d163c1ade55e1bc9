"""The real KEDA and the real controller of HPAs on nodes of kwok: load comes, revisions roll, engines take over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from cluster import kwok, ports
from cluster.controlplane import ControlPlane
from controlplane import keda, metrics_api
from controlplane.conftest import install_crd, kubectl_of, new_namespace
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from controlplane.test_autoscalers import SCALING, replicas, until_replicas
from controlplane.watched import numbers, watched
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controlplane.keda import Prometheus

    Object = dict[str, Any]

pytestmark = pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "full", reason="builds large peers: make test-full"
)
KEDA = SCALING | {"engine": "KEDA"}


class Load:
    """How many requests are without an answer, as the pods of a service tell it, and the gateway in front of them."""

    def __init__(self, prometheus: Prometheus, services: Services) -> None:
        self._prometheus, self._of = prometheus, services.namespace

    def be(self, inflight: float, *, at_the_gateway: float = 0) -> None:
        self._prometheus.page = (
            f'model_server_inflight_requests{{namespace="{self._of}",modelservice="m"}} {inflight}\n'
            f'gateway_requests{{namespace="{self._of}",service="m"}} {at_the_gateway}\n'
        )

    def vanish(self) -> None:
        self._prometheus.page = ""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("plane")
    with ControlPlane(
        directory / "cluster",
        kwok=True,
        api_flags=metrics_api.aggregation(directory / "front-proxy"),
        controller_flags=("--horizontal-pod-autoscaler-sync-period=1s",),
    ) as plane:
        install_crd(plane)
        kubectl_of(plane)("create", "-f", "-", stdin=kwok.node("n1", {}))
        yield plane


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with keda.Prometheus(tmp_path_factory.mktemp("prometheus")).running() as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def operator(
    plane: ControlPlane, prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """Our operator beside KEDA's."""
    kubectl, directory = kubectl_of(plane), tmp_path_factory.mktemp("operator")
    operator = OperatorProcess(kubectl, plane.kubeconfig, directory, ports.free(1)[0])
    demand = 'gateway_requests{namespace="{namespace}",service="{name}"}'
    operator.set(prometheus={"url": prometheus.url}, autoscaling={"demandQuery": demand})
    with keda.running(kubectl, plane.kubeconfig, tmp_path_factory.mktemp("keda")):
        operator.start()
        yield operator
        assert operator.stop() == 0


@pytest.fixture
def services(plane: ControlPlane, operator: OperatorProcess) -> Iterator[Services]:
    del operator
    kubectl = kubectl_of(plane)
    services = Services(kubectl, new_namespace(kubectl))
    until(lambda: services.all("serviceaccounts"), "the namespace is usable")
    yield services
    services.kubectl("delete", "modelservices", "--all")
    until(lambda: not services.all("scaledobjects"), "KEDA has let its objects go")


@pytest.fixture
def load(prometheus: Prometheus, services: Services) -> Load:
    return Load(prometheus, services)


def test_replicas_follow_the_load_also_through_a_rollout_and_a_restart_of_the_operator(
    services: Services, plane: ControlPlane, operator: OperatorProcess, load: Load
) -> None:
    load.be(18)
    services.apply(autoscaling=KEDA)
    until_replicas(services, 2)
    services.until("AutoscalerReady", "True", "Scaling")
    load.be(38)
    until_replicas(services, 4)
    with watched(
        plane.kubeconfig, services.namespace, "modelservices", ".spec.replicas", ".status.readyReplicas"
    ) as seen:
        before = services.revisions()[0]["name"]
        services.apply(autoscaling=KEDA, runtime={"env": [{"name": "A", "value": "new"}]})
        until(lambda: len(services.all("deployments")) > 1, "a new revision starts")
        operator.stop()
        load.be(58)
        until(lambda: services.get("modelservice")["spec"]["replicas"] == 6, "KEDA goes on without our operator")
        operator.start()
        until_replicas(services, 6)
        services.until("Ready", "True")
        [after] = services.revisions()
        assert after["name"] != before
    assert numbers(seen) == sorted(numbers(seen))
    assert min(numbers(seen, 1)) >= 4
    operator.stop()
    operator.start()
    until(operator.is_idle, "everything was looked at")
    assert operator.writes() == 0


def test_replicas_stay_while_prometheus_is_away_or_knows_nothing(
    services: Services, prometheus: Prometheus, load: Load
) -> None:
    load.be(38)
    services.apply(autoscaling=KEDA)
    until_replicas(services, 4)
    services.until("AutoscalerReady", "True", "Scaling")
    for away, back in [(load.vanish, lambda: load.be(38)), (prometheus.stop, prometheus.start)]:
        away()
        services.until("AutoscalerReady", "False", "AutoscalerFails")
        until(
            lambda: "holds the number" in services.condition("AutoscalerReady")["message"],
            "KEDA holds the number",
        )
        assert replicas(services) == 4
        back()
        services.until("AutoscalerReady", "True", "Scaling")
        assert replicas(services) == 4


def test_a_service_goes_to_zero_and_comes_back_by_what_the_gateway_counts(services: Services, load: Load) -> None:
    load.be(0)
    services.apply(autoscaling=KEDA | {"minReplicas": 0})
    services.until("Ready", "True")
    until_replicas(services, 0)
    services.until("Ready", "True", "ScaledToZero")
    services.until("AutoscalerReady", "True", "Scaling")
    load.vanish()
    # Nobody sees whether somebody waits, so KEDA wakes one, after four looks, one every 15 seconds.
    until(lambda: replicas(services) == 1, "one replica is there", patience=150)
    load.be(0, at_the_gateway=15)
    until_replicas(services, 2)


def test_engines_take_over_from_each_other_without_a_pod_more_or_less(
    services: Services, plane: ControlPlane, load: Load, tmp_path_factory: pytest.TempPathFactory
) -> None:
    load.be(28)
    kubectl = kubectl_of(plane)
    with metrics_api.served(
        kubectl, plane.kubeconfig, tmp_path_factory.mktemp("metrics"), names=(metrics_api.CUSTOM,)
    ) as adapter:
        adapter.inflight = 28
        services.apply(replicas=3)
        until_replicas(services, 3)
        with watched(
            plane.kubeconfig, services.namespace, "deployments", ".spec.replicas", ".status.readyReplicas"
        ) as seen:
            for engine, kind in [("Builtin", ""), ("HPA", "hpa/m"), ("KEDA", "hpa/keda-hpa-m"), ("HPA", "hpa/m")]:
                services.apply(autoscaling=SCALING | {"engine": engine})
                until(lambda kind=kind: scales(services) == ({kind} if kind else set()), f"{engine} has taken over")
                assert replicas(services) == 3
            services.apply(autoscaling=SCALING | {"engine": "Builtin"})
            until(lambda: not scales(services), "nothing of the others is left")
            assert replicas(services) == 3
        assert set(numbers(seen)) == {3}
        assert min(numbers(seen, 1)) == 3


def scales(services: Services) -> set[str]:
    """Return the HPAs that read their metrics."""
    found = {}
    for each in services.all("hpa"):
        conditions = {it["type"]: it["status"] for it in each["status"].get("conditions") or ()}
        found[f"hpa/{each['metadata']['name']}"] = conditions.get("ScalingActive")
    return {name for name, status in found.items() if status == "True"}
