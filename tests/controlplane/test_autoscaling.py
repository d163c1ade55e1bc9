"""Replicas follow the requests, on a real API server with real controllers: what pods tell is real HTTP, too.

Engine HPA has the real controller, and an adapter of metrics of the tests' own. The real KEDA: test_keda.py.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cluster.controlplane import ControlPlane
from cluster.definitions import definition
from controlplane import metrics_api, pages
from controlplane.conftest import install_crd, kubectl_of, remove_definition
from controlplane.witness import Witness
from sizes import only_full
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controlplane.kubelet import Kubelet
    from controlplane.metrics_api import MetricsApi
    from controlplane.operator_process import OperatorProcess
    from controlplane.services import Services
    from controlplane.witness import Moment

    Object = dict[str, Any]

BOUNDS = {"minReplicas": 1, "maxReplicas": 6, "inflightPerReplica": 10}
SILENT = "127.0.0.70"  # where nobody answers
HPA = BOUNDS | {"engine": "HPA", "scaleDownDelay": "0s"}
SCALED_OBJECTS = "scaledobjects.keda.sh"
full = only_full("minutes")


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
def metrics(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsApi]:
    with metrics_api.served(kubectl_of(plane), plane.kubeconfig, tmp_path_factory.mktemp("metrics")) as api:
        yield api


class Crowd:
    """So many requests at a time, spread evenly over the pods that are there; each pod has an address of its own."""

    def __init__(self) -> None:
        self.requests = 0.0
        self._free = [f"127.0.0.{number}" for number in range(80, 100)]
        self._pods: dict[str, str] = {}

    def of(self, pod: str) -> str:
        if pod.startswith("silent-"):
            return SILENT
        if pod not in self._pods:
            self._pods[pod] = self._free.pop(0)
        return self._pods[pod]

    def gives_back(self, pod: str) -> None:
        if pod in self._pods:
            self._free.append(self._pods.pop(pod))

    def page(self) -> str:
        return pages.of_model_server(self.requests / max(1, len(self._pods)))

    @contextmanager
    def asked(self) -> Iterator[Crowd]:
        """Open the pages of all pods."""
        with pages.served(self.page, tuple(self._free), pages.METRICS_PORT):
            yield self


@pytest.fixture
def crowd(services: Services, kubelet: Kubelet) -> Iterator[Crowd]:
    """The pods of the test are asked by it."""
    del services  # they are deleted after it, and their pods give their addresses back
    with Crowd().asked() as crowd:
        kubelet.addresses = crowd
        yield crowd
        kubelet.addresses = None


def serve(services: Services, **spec: object) -> None:
    services.apply(autoscaling=BOUNDS, **spec)
    services.until("Ready", "True", "Ready")


def replicas(services: Services) -> int | None:
    found: int | None = services.get("modelservice")["spec"].get("replicas")
    return found


def until_replicas(services: Services, wanted: int, *, patience: float = 60) -> None:
    """Wait until so many are asked for, ready, and all that there are."""

    def are_there() -> bool:
        service = services.get("modelservice")
        counts = {name: service["status"].get(name) for name in ("replicas", "readyReplicas")}
        assert {service["spec"].get("replicas"), *counts.values()} == {wanted}, service["status"]
        return True

    until(are_there, f"{wanted} replicas are there", patience=patience)


def last_rule(operator: OperatorProcess, services: Services) -> str:
    found = re.search(
        rf'^modelservice_autoscaler_rule{{namespace="{services.namespace}",name="m",rule="(\w+)"}} 1$',
        operator.metrics(),
        re.MULTILINE,
    )
    return found[1] if found else ""


def test_replicas_follow_the_load_silent_pods_are_told_and_a_restart_of_the_operator_changes_nothing(
    services: Services, crowd: Crowd, operator: OperatorProcess
) -> None:
    services.apply("silent", autoscaling=BOUNDS | {"minReplicas": 2})
    crowd.requests = 5
    serve(services)
    assert replicas(services) == 1
    assert services.until("AutoscalerReady", "True", "Scaling")["message"].endswith("10 for each.")
    crowd.requests = 120
    until(lambda: replicas(services) == 6, "there are as many as there may be", details=operator.log.read_text)
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 6, "they serve")
    told = services.get("modelservice")["status"]["autoscaling"]
    assert told["replicas"] == 6
    assert told["rule"] in {"Surge", "Load"}
    until(lambda: any(each["reason"] == "Scaled" for each in services.all("events")), "an Event tells of it")

    told = services.until("AutoscalerReady", "False", "NoMetrics", name="silent")
    assert told["message"].count(f"(http://{SILENT}:9090/metrics)") == 2
    assert services.get("modelservice", "silent")["spec"]["replicas"] == 2

    crowd.requests = 55
    until(lambda: last_rule(operator, services) in {"Steady", "Limited"}, "nothing is left to do")
    until(operator.is_idle, "the operator has nothing to do")
    generation = services.get("modelservice")["metadata"]["generation"]
    assert operator.stop() == 0
    operator.start()
    until(lambda: last_rule(operator, services) == "Steady", "it has looked more than once")
    until(operator.is_idle, "it has nothing to do")
    assert operator.writes() == 0, operator.log.read_text()
    assert services.get("modelservice")["metadata"]["generation"] == generation


def test_a_roll_while_replicas_grow_keeps_what_is_promised_and_what_may_be(services: Services, crowd: Crowd) -> None:
    bounds = BOUNDS | {"minReplicas": 2, "maxReplicas": 5}
    crowd.requests = 10
    services.apply(autoscaling=bounds)
    services.until("Ready", "True", "Ready")
    old = services.revisions()[0]["name"]
    crowd.requests = 200
    services.apply(autoscaling=bounds, model={"uri": "file:///models/m2"})

    def is_over() -> bool:
        deployments = services.all("deployments")
        promised = max(
            int(each["metadata"]["annotations"]["modelservice.dev/promised-replicas"]) for each in deployments
        )
        available = sum((each.get("status") or {}).get("availableReplicas", 0) for each in deployments)
        if available < 2:
            pytest.fail(f"{available} pods are available, and 2 were promised from the beginning: {deployments}")
        if sum(each["spec"]["replicas"] for each in deployments) > promised + 1:
            pytest.fail(f"more than one pod beyond the {promised} promised ones is asked for: {deployments}")
        stable = services.revisions()[0]
        return stable["name"] != old and stable["ready"] == replicas(services) == 5

    until(is_over, "the new revision serves with as many pods as there may be")
    services.until("Ready", "True", "Ready")


def test_replicas_in_a_manifest_are_told_and_dropping_them_holds_the_number_that_runs(
    services: Services, crowd: Crowd
) -> None:
    crowd.requests = 40
    services.apply(autoscaling=BOUNDS, replicas=3)
    services.until("Ready", "True", "Ready")
    told = services.until("AutoscalerReady", "False", "ReplicasInManifest")
    assert told["message"].startswith("kubectl-client-side-apply writes spec.replicas")
    crowd.requests = 30
    services.apply(autoscaling=BOUNDS)  # the field goes, which for a Deployment would mean one pod
    services.until("AutoscalerReady", "True", "Scaling")
    assert replicas(services) == 3
    assert [each["spec"]["replicas"] for each in services.all("deployments")] == [3]
    generations = services.template_versions()
    services.apply(autoscaling=BOUNDS)
    services.kubectl("scale", "modelservice", "m", "--replicas=4")  # by hand, which is no manifest
    until(lambda: services.template_versions() != generations, "it is obeyed")
    services.until("AutoscalerReady", "True", "Scaling")


# -- engine HPA


def test_an_hpa_scales_a_service_through_its_own_scale(
    services: Services, operator: OperatorProcess, metrics: MetricsApi
) -> None:
    metrics.inflight = 18
    services.apply(autoscaling=HPA)
    services.until("AutoscalerReady", "True", "Scaling")
    until_replicas(services, 2)
    metrics.inflight = 38
    until_replicas(services, 4)
    metrics.inflight = 28
    until_replicas(services, 3)
    until(operator.is_idle, "the operator has nothing to do")

    sent = operator.writes()
    metrics.inflight = 31.5
    until(lambda: current_average(services) == "10500m", "the HPA has looked again")
    until(operator.is_idle, "the operator has nothing to do")
    assert operator.writes() == sent
    operator.stop()
    operator.start()
    until(operator.is_idle, "everything was looked at")
    assert operator.writes() == 0
    assert replicas(services) == 3


def current_average(services: Services) -> str:
    """Return what an HPA has seen last."""
    [current] = services.get("hpa")["status"]["currentMetrics"]
    return str(current["pods"]["current"]["averageValue"])


def test_replicas_stay_while_no_pod_tells_its_metric_or_nobody_asks_them_and_the_condition_says_so(
    services: Services, metrics: MetricsApi, operator: OperatorProcess
) -> None:
    metrics.inflight = 28
    services.apply(autoscaling=HPA)
    until_replicas(services, 3)

    def holds_and_tells() -> None:
        told = services.until("AutoscalerReady", "False", "AutoscalerFails")
        assert "HorizontalPodAutoscaler m does not scale" in told["message"]
        until(operator.is_idle, "the operator has nothing to do")
        assert replicas(services) == 3

    metrics.is_silent = True
    holds_and_tells()
    metrics.is_silent = False
    services.until("AutoscalerReady", "True", "Scaling")
    metrics.unregister(metrics_api.CUSTOM)
    holds_and_tells()
    metrics.register(metrics_api.CUSTOM)
    services.until("AutoscalerReady", "True", "Scaling")
    assert replicas(services) == 3


@full
def test_a_metric_that_flaps_leaves_an_hpa_with_as_many_as_its_peaks_ask_for(
    services: Services, plane: ControlPlane, metrics: MetricsApi
) -> None:
    metrics.inflight = 28
    with Witness(plane.kubeconfig).watching() as witness:
        services.apply(autoscaling=HPA | {"scaleDownDelay": "1m"})
        until_replicas(services, 3)
        since = int(services.get("modelservice")["metadata"]["resourceVersion"])
        for inflight, average in [(5, "1667m"), (28, "9333m")] * 10:
            metrics.inflight = inflight
            until(lambda average=average: current_average(services) == average, "the HPA has looked")  # type: ignore[misc]
        services.kubectl("annotate", "modelservice", "m", "is=over")
        assert shape(witness.moments_since(since, services)) == {(3, 3, 3)}


@full
def test_an_hpa_reads_the_external_metric_that_the_administrator_names(
    services: Services, operator: OperatorProcess, metrics: MetricsApi
) -> None:
    metrics.inflight = 35
    operator.stop()
    operator.set(autoscaling={"externalMetric": "inflight"})
    operator.start()
    try:
        services.apply(runtime={"name": "VLLM", "image": "example/vllm:1"}, autoscaling=HPA)
        until_replicas(services, 4)
        [current] = services.get("hpa")["status"]["currentMetrics"]
        assert current["external"]["metric"] == {"name": "inflight", "selector": {"matchLabels": {"modelservice": "m"}}}
    finally:
        operator.stop()
        operator.set(autoscaling={})
        operator.start()


def test_another_engine_takes_over_without_a_pod_more_or_less(
    services: Services, plane: ControlPlane, metrics: MetricsApi, operator: OperatorProcess
) -> None:
    """From a number in the manifest, which a client-side apply then drops, through all engines and back to none."""
    operator.stop()
    operator.set(prometheus={"url": "http://127.0.0.1:9"})  # whom KEDA would ask
    operator.start()
    metrics.inflight = 28
    services.apply(replicas=3)
    until_replicas(services, 3)
    try:
        with Witness(plane.kubeconfig).watching() as witness:
            begun = services.apply(autoscaling=HPA | {"engine": "Builtin"})
            until(lambda: replicas(services) == 3, "the number is held")
            services.apply(autoscaling=HPA)
            services.until("AutoscalerReady", "True", "Scaling")

            services.apply(autoscaling=HPA | {"engine": "KEDA"})
            told = services.until("AutoscalerReady", "False", "NoAutoscaler")
            assert "the cluster does not serve it" in told["message"]
            assert not services.all("hpa")
            services.kubectl("apply", "--server-side", f"--filename={definition('scaledobjects', 'keda.sh')}")
            services.until("AutoscalerReady", "Unknown", "NoAutoscaler")
            until(lambda: services.all(SCALED_OBJECTS), "there is a ScaledObject")
            until(
                lambda: "KEDA has not looked" in services.condition("AutoscalerReady")["message"], "nobody looks at it"
            )

            services.apply(autoscaling=HPA)
            services.until("AutoscalerReady", "True", "Scaling")
            assert not services.all(SCALED_OBJECTS)
            services.apply()
            until(lambda: not services.all("hpa"), "the HPA is gone")
            until(lambda: not services.condition("AutoscalerReady"), "nobody scales")
            moments = witness.moments_since(int(begun["metadata"]["resourceVersion"]), services)
            assert shape(moments) <= {(3, 3, 3), (None, 3, 3)}  # the operator writes down what the manifest drops
            assert moments[-1].wanted == 3
    finally:
        remove_definition(services.kubectl, SCALED_OBJECTS)


def shape(moments: list[Moment]) -> set[tuple[int | None, int, int]]:
    """Return what was ever true: replicas of the spec, pods that serve, and pods that are there to stay."""
    return {(each.wanted, each.serving, each.asked) for each in moments}
