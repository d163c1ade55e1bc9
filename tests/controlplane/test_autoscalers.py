"""Engines HPA and KEDA on a real API server: the real controller of HPAs, and an adapter of metrics of the tests' own.

The real KEDA: test_keda.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cluster import ports
from cluster.controlplane import ControlPlane
from cluster.definitions import definition
from controlplane import metrics_api
from controlplane.conftest import install_crd, kubectl_of, remove_definition
from controlplane.operator_process import OperatorProcess
from controlplane.watched import numbers, watched
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controlplane.metrics_api import MetricsApi
    from controlplane.services import Services

    Object = dict[str, Any]

SCALING = {"engine": "HPA", "maxReplicas": 6, "inflightPerReplica": 10, "scaleDownDelay": "0s"}
SCALED_OBJECTS = "scaledobjects.keda.sh"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that passes metrics on, and looks at HPAs every second."""
    directory = tmp_path_factory.mktemp("plane")
    with ControlPlane(
        directory / "cluster",
        controllers=True,
        api_flags=metrics_api.aggregation(directory / "front-proxy"),
        controller_flags=("--horizontal-pod-autoscaler-sync-period=1s",),
    ) as plane:
        install_crd(plane)
        yield plane


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    directory = tmp_path_factory.mktemp("operator")
    operator = OperatorProcess(kubectl_of(plane), plane.kubeconfig, directory, ports.free(1)[0])
    configure(operator)
    operator.start()
    yield operator
    assert operator.stop() == 0


@pytest.fixture(scope="module")
def metrics(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsApi]:
    with metrics_api.served(kubectl_of(plane), plane.kubeconfig, tmp_path_factory.mktemp("metrics")) as api:
        yield api


def configure(operator: OperatorProcess, **autoscaling: str) -> None:
    """Write a configuration with a Prometheus, which nobody here asks anything that matters."""
    operator.set(prometheus={"url": "http://127.0.0.1:9"}, autoscaling=autoscaling)


def replicas(services: Services) -> int:
    """Return how many there are to be, once that many are ready."""
    service = services.get("modelservice")
    wanted, ready = service["spec"].get("replicas"), service["status"].get("readyReplicas")
    assert wanted is not None, service["spec"]
    assert ready == wanted, service["status"]
    return int(wanted)


def until_replicas(services: Services, wanted: int) -> None:
    until(lambda: replicas(services) == wanted, f"{wanted} replicas are there")


def test_an_hpa_scales_a_service_through_its_own_scale(
    services: Services, operator: OperatorProcess, metrics: MetricsApi
) -> None:
    metrics.inflight = 18
    services.apply(autoscaling=SCALING)
    services.until("AutoscalerReady", "True", "Scaling")
    until_replicas(services, 2)
    metrics.inflight = 42
    until_replicas(services, 5)
    metrics.inflight = 28
    until_replicas(services, 3)
    until(lambda: services.get("modelservice")["status"]["replicas"] == 3, "no other pod is left")
    until(operator.is_idle, "the operator has nothing to do")

    sent = operator.writes()
    metrics.inflight = 31.5

    def has_looked() -> bool:
        [current] = services.get("hpa")["status"]["currentMetrics"]
        return bool(current["pods"]["current"]["averageValue"] == "10500m")

    until(has_looked, "the HPA has looked again")
    until(operator.is_idle, "the operator has nothing to do")
    assert operator.writes() == sent
    operator.stop()
    operator.start()
    until(operator.is_idle, "everything was looked at")
    assert operator.writes() == 0
    assert replicas(services) == 3


def test_replicas_stay_while_there_is_no_metric_and_the_condition_says_so(
    services: Services, metrics: MetricsApi
) -> None:
    metrics.inflight = 28
    services.apply(autoscaling=SCALING)
    until_replicas(services, 3)
    metrics.unregister(metrics_api.CUSTOM)
    told = services.until("AutoscalerReady", "False", "AutoscalerFails")
    assert "HorizontalPodAutoscaler m does not scale" in told["message"]
    assert replicas(services) == 3
    metrics.register(metrics_api.CUSTOM)
    metrics.inflight = 48
    services.until("AutoscalerReady", "True", "Scaling")
    until_replicas(services, 5)


def test_an_hpa_reads_the_external_metric_that_the_administrator_names(
    services: Services, operator: OperatorProcess, metrics: MetricsApi
) -> None:
    metrics.inflight = 35
    operator.stop()
    configure(operator, externalMetric="inflight")
    operator.start()
    try:
        services.apply(runtime={"name": "VLLM", "image": "example/vllm:1"}, autoscaling=SCALING)
        until_replicas(services, 4)
        [current] = services.get("hpa")["status"]["currentMetrics"]
        assert current["external"]["metric"] == {"name": "inflight", "selector": {"matchLabels": {"modelservice": "m"}}}
    finally:
        operator.stop()
        configure(operator)
        operator.start()


def test_another_engine_takes_over_without_a_pod_more_or_less(
    services: Services, plane: ControlPlane, metrics: MetricsApi
) -> None:
    """From a number in the manifest, which a client-side apply then drops, through all engines and back to none."""
    metrics.inflight = 28
    services.apply(replicas=3)
    until_replicas(services, 3)
    try:
        with watched(
            plane.kubeconfig, services.namespace, "deployments", ".spec.replicas", ".status.readyReplicas"
        ) as seen:
            services.apply(autoscaling=SCALING | {"engine": "Builtin"})
            until(lambda: replicas(services) == 3, "the number is held")
            services.apply(autoscaling=SCALING)
            services.until("AutoscalerReady", "True", "Scaling")

            services.apply(autoscaling=SCALING | {"engine": "KEDA"})
            told = services.until("AutoscalerReady", "False", "NoAutoscaler")
            assert "the cluster does not serve it" in told["message"]
            assert not services.all("hpa")
            services.kubectl("apply", "--server-side", f"--filename={definition('scaledobjects', 'keda.sh')}")
            told = services.until("AutoscalerReady", "Unknown", "NoAutoscaler")
            until(lambda: services.all(SCALED_OBJECTS), "there is a ScaledObject")
            assert "KEDA has not looked" in services.condition("AutoscalerReady")["message"]

            services.apply(autoscaling=SCALING)
            services.until("AutoscalerReady", "True", "Scaling")
            assert not services.all(SCALED_OBJECTS)
            services.apply()
            until(lambda: not services.all("hpa"), "the HPA is gone")
            assert not services.condition("AutoscalerReady")
            assert replicas(services) == 3
        assert set(numbers(seen)) == {3}
        assert min(numbers(seen, 1)) == 3
    finally:
        remove_definition(services.kubectl, SCALED_OBJECTS)
