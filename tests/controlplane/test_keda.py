"""The real KEDA and the real controller of HPAs on nodes of kwok: load comes, revisions roll, engines take over.

Whoever decides sees the same load: KEDA in Prometheus, an HPA in an adapter of metrics, and the operator in the pods.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cluster import kwok, ports
from cluster.controlplane import ControlPlane
from controlplane import keda, metrics_api, pages
from controlplane.conftest import install_crd, kubectl_of, new_namespace
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from controlplane.test_autoscaling import BOUNDS, replicas, shape, until_replicas
from controlplane.witness import Witness, is_true
from sizes import only_full
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controlplane.keda import Prometheus
    from controlplane.metrics_api import MetricsApi

    Object = dict[str, Any]

pytestmark = only_full("builds large peers")
SCALING = BOUNDS | {"scaleDownDelay": "0s"}
KEDA = SCALING | {"engine": "KEDA"}
ENGINES = ("Builtin", "HPA", "KEDA")
_CIDR = "127.0.64.0/24"  # pods of kwok have no server of their own, but addresses where one can be
_ADDRESSES = [f"127.0.64.{number}" for number in range(1, 33)]
_STALE_SECONDS = 301
_LONG = 150.0  # what KEDA or the operator's longest window takes


class Load:
    """How many requests are without an answer, for all who ask, and at the gateway in front of the pods."""

    def __init__(self, prometheus: Prometheus, adapter: MetricsApi, witness: Witness, services: Services) -> None:
        self._prometheus, self._adapter, self._witness, self._of = prometheus, adapter, witness, services.namespace
        self._inflight = 0.0

    def be(self, inflight: float, *, at_the_gateway: float = 0, stamp: str = "") -> None:
        self._inflight = self._adapter.inflight = inflight
        self._prometheus.page = (
            f'model_server_inflight_requests{{namespace="{self._of}",modelservice="m"}} {inflight}{stamp}\n'
            f'gateway_requests{{namespace="{self._of}",service="m"}} {at_the_gateway}{stamp}\n'
        )

    def be_stale(self, inflight: float) -> None:
        """Be what it was five minutes ago."""
        self.be(inflight, stamp=f" {1000 * int(time.time() - _STALE_SECONDS)}")

    def vanish(self) -> None:
        self._prometheus.page = ""

    def of_a_pod(self) -> str:
        """Return what each pod tells."""
        ready = sum(is_true(pod, "Ready") for pod in self._witness.all("Pod", self._of))
        return pages.of_model_server(self._inflight / max(1, ready))


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
        node = kwok.node("n1", {}) | {"spec": {"podCIDR": _CIDR}}
        kubectl_of(plane)("create", "-f", "-", stdin=node)
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


@pytest.fixture(scope="module")
def adapter(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsApi]:
    directory = tmp_path_factory.mktemp("metrics")
    with metrics_api.served(kubectl_of(plane), plane.kubeconfig, directory, (metrics_api.CUSTOM,)) as api:
        yield api


@pytest.fixture(scope="module")
def witness(plane: ControlPlane) -> Iterator[Witness]:
    with Witness(plane.kubeconfig).watching() as witness:
        yield witness


@pytest.fixture
def load(prometheus: Prometheus, adapter: MetricsApi, witness: Witness, services: Services) -> Iterator[Load]:
    load = Load(prometheus, adapter, witness, services)
    with pages.served(load.of_a_pod, _ADDRESSES, pages.METRICS_PORT):
        yield load


@pytest.mark.parametrize("engine", ENGINES)
def test_a_roll_while_replicas_follow_the_load_keeps_both_promises_also_if_the_operator_restarts(
    engine: str, services: Services, witness: Witness, operator: OperatorProcess, load: Load
) -> None:
    scaling = SCALING | {"engine": engine}
    load.be(38)
    services.apply(autoscaling=scaling)
    until_replicas(services, 4, patience=_LONG)
    until_scaled_by(engine, services)
    before = services.revisions()[0]["name"]
    begun = services.apply(autoscaling=scaling, runtime={"env": [{"name": "A", "value": "new"}]})
    until(lambda: len(services.all("deployments")) > 1, "a new revision starts")
    operator.stop()
    load.be(56)
    if engine != "Builtin":
        until(lambda: replicas(services) == 6, f"{engine} goes on without our operator", patience=_LONG)
    operator.start()
    until_replicas(services, 6, patience=_LONG)
    services.until("Ready", "True")
    [after] = services.revisions()
    assert after["name"] != before
    moments = witness.moments_since(version(begun), services)
    told = [(each.wanted, each.serving, each.asked) for each in moments]
    assert all(one.wanted <= other.wanted for one, other in pairwise(moments) if one.wanted and other.wanted), told
    assert min(each.serving for each in moments) >= 4, told
    assert all(each.wanted and each.asked <= each.wanted + 1 for each in moments), told
    until(operator.is_idle, "the operator has nothing to do")
    operator.stop()
    operator.start()
    until(operator.is_idle, "everything was looked at")
    assert operator.writes() == 0


def test_replicas_stay_while_prometheus_is_away_or_knows_nothing_or_nothing_new(
    services: Services, prometheus: Prometheus, load: Load
) -> None:
    load.be(38)
    services.apply(autoscaling=KEDA)
    until_replicas(services, 4)
    services.until("AutoscalerReady", "True", "Scaling")
    again = lambda: load.be(38)  # noqa: E731
    faults = [(load.vanish, again), (lambda: load.be_stale(8), again), (prometheus.stop, prometheus.start)]
    for away, back in faults:
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
    until(lambda: replicas(services) == 1, "one replica is there", patience=_LONG)
    load.be(0, at_the_gateway=15)
    until_replicas(services, 2)


@pytest.mark.parametrize("engine", ["HPA", "KEDA"])
def test_dropping_replicas_from_a_manifest_holds_the_number_that_runs(
    engine: str, services: Services, witness: Witness, load: Load
) -> None:
    scaling = SCALING | {"engine": engine}
    load.be(28)
    services.apply(autoscaling=scaling, replicas=3)
    until_replicas(services, 3)
    services.until("AutoscalerReady", "False", "ReplicasInManifest")
    until(lambda: scales(services), f"{engine} scales")
    if engine == "KEDA":  # which takes what is missing for zero, but does not look again for 15 seconds
        looked = lambda: services.get("scaledobject")["status"].get("lastActiveTime")  # noqa: E731
        last = looked()
        until(lambda: looked() != last, "KEDA has just looked")
    begun = services.apply(autoscaling=scaling)
    services.until("AutoscalerReady", "True", "Scaling")
    moments = witness.moments_since(version(begun), services)
    assert shape(moments) <= {(None, 3, 3), (3, 3, 3)}
    assert moments[-1].wanted == 3


def test_engines_hand_over_to_each_other_without_a_dip_also_if_the_operator_dies_in_between(
    services: Services, witness: Witness, operator: OperatorProcess, load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each to each other and back; who has taken over follows the load."""
    load.be(18)
    services.apply(replicas=2)
    until_replicas(services, 2)
    stays, shown = 2, []
    for engine, then, dies in [
        ("Builtin", 28, False),
        ("HPA", 38, False),
        ("KEDA", 48, False),
        ("Builtin", 48, True),
        ("KEDA", 38, True),
        ("HPA", 38, True),
        ("Builtin", 38, True),
    ]:
        begun = services.apply(autoscaling=SCALING | {"engine": engine})
        if dies:
            operator.kill()
            operator.start()
        until_scaled_by(engine, services)
        moments = witness.moments_since(version(begun), services)
        wanted = {each.wanted for each in moments} - {None}  # where the manifest has just dropped it
        figures = {"wanted": min(wanted), "available": min(each.serving for each in moments)}
        most = {"wanted": max(wanted), "pods": max(each.asked for each in moments)}
        shown.append({"to": engine, "of": stays, "least": figures, "most": most})
        assert {*figures.values(), *most.values()} == {stays}, shown[-1]
        load.be(then)
        stays = (then + 2) // 10
        until_replicas(services, stays, patience=_LONG)
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"{json.dumps(each)}\n" for each in shown))


def until_scaled_by(engine: str, services: Services) -> None:
    """Wait until an engine decides, and no other."""
    autoscaler = {"HPA": {"hpa/m"}, "KEDA": {"hpa/keda-hpa-m"}}.get(engine, set())
    words = {"HPA": "HorizontalPodAutoscaler", "KEDA": "ScaledObject"}.get(engine, "10 for each")

    def holds() -> bool:
        told = services.condition("AutoscalerReady")
        assert scales(services) == autoscaler
        return bool(told) and told["status"] == "True" and words in told["message"]

    until(holds, f"{engine} has taken over", patience=_LONG, details=lambda: services.get("modelservice"))


def version(service: Object) -> int:
    return int(service["metadata"]["resourceVersion"])


def scales(services: Services) -> set[str]:
    """Return the HPAs that read their metrics."""
    found = {}
    for each in services.all("hpa"):
        conditions = {it["type"]: it["status"] for it in each["status"].get("conditions") or ()}
        found[f"hpa/{each['metadata']['name']}"] = conditions.get("ScalingActive")
    return {name for name, status in found.items() if status == "True"}
