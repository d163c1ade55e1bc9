"""Replicas follow the requests, on a real API server with real controllers: what pods tell is real HTTP, too."""

from __future__ import annotations

import http.server
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controlplane.kubelet import Kubelet
    from controlplane.operator_process import OperatorProcess
    from controlplane.services import Services

    Object = dict[str, Any]

BOUNDS = {"minReplicas": 1, "maxReplicas": 6, "inflightPerReplica": 10}
SILENT = "127.0.0.70"  # where nobody answers
PAGE = """\
# TYPE model_server_requests_total counter
model_server_requests_total{{code="200"}} {answered}
# TYPE model_server_inflight_requests gauge
model_server_inflight_requests {inflight}
"""


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

    def page(self) -> bytes:
        return PAGE.format(answered=0, inflight=self.requests / max(1, len(self._pods))).encode()

    @contextmanager
    def asked(self) -> Iterator[Crowd]:
        """Open the pages of all pods."""
        crowd = self

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = crowd.page()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        servers = [http.server.ThreadingHTTPServer((address, 9090), Page) for address in self._free]
        threads = [threading.Thread(target=server.serve_forever) for server in servers]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()
            for thread in threads:
                thread.join()


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


def last_rule(operator: OperatorProcess, services: Services) -> str:
    found = re.search(
        rf'^modelservice_autoscaler_rule{{namespace="{services.namespace}",name="m",rule="(\w+)"}} 1$',
        operator.metrics(),
        re.MULTILINE,
    )
    return found[1] if found else ""


def test_replicas_follow_the_load_a_restart_of_the_operator_changes_nothing_and_silent_pods_are_told(
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

    told = services.until("AutoscalerReady", "False", "NoMetrics", name="silent")
    assert told["message"].count(f"(http://{SILENT}:9090/metrics)") == 2
    assert services.get("modelservice", "silent")["spec"]["replicas"] == 2


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
