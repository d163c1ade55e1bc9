"""Models under load, watched: a real operator on a real API server, real model servers, and a real Prometheus.

The control plane's scheduler and controllers make the pods that the operator asks for; a node of our own runs each as a
process on this machine, with the pod's own arguments. Beside them stand the exporters of others: one with DCGM's
names, and what vLLM exposes.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import numpy as np
from prometheus_client import generate_latest

import gpus
from cluster import ports
from cluster.controlplane import ControlPlane
from cluster.definitions import definition
from controlplane.conftest import install_crd, kubectl_of
from controlplane.kubelet import Kubelet
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from model_server.protocol.datatypes import DATATYPES, TensorSpec
from model_server.reference import LEAST_ROWS, reference_of, write_reference
from modelservice_operator import names
from scraping import Prometheus, pages
from server.support import mlp_directory, started
from vllm_metrics import Vllm
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.support import Server

NAMESPACE: Final = "ml"
MODEL: Final = "nlp"
SMALL: Final = "digits"
LANGUAGE: Final = "llm"
DASHBOARD: Final = "https://grafana.example.com/d/modelservice?var-namespace={namespace}&var-name={name}"

_LAYERS: Final = {MODEL: (512, 2048, 2048, 16), SMALL: (64, 32, 10)}
_SLO: Final = {
    "objectives": [
        {"name": "availability", "target": "95%"},
        {"name": "latency", "target": "95%", "threshold": "50ms"},
    ]
}
_SPECS: Final[dict[str, dict[str, Any]]] = {
    MODEL: {
        "replicas": 2,
        "accelerator": {"class": "nvidia-l4"},
        "serving": {"maxQueue": 16},
        "slo": _SLO,
    },
    SMALL: {"replicas": 1, "slo": {"objectives": [{"name": "availability", "target": "99.9%"}]}},
}
# From so many seconds on so many ask at once, each with such a pause between an answer and the next request.
_PHASES: Final = ((0, 3, 0.05), (50, 12, 0.02), (100, 40, 0.0), (110, 12, 0.02), (200, 3, 0.05))


class Node(Kubelet):
    """A node that runs the model server of each pod as a process, and has it scraped."""

    def __init__(self, plane: ControlPlane, models: Path, prometheus: Prometheus) -> None:
        super().__init__(plane.kubeconfig, "n1", **{"nvidia.com/gpu": "8"})
        self._models, self._prometheus, self._ends = models, prometheus, ExitStack()
        self._servers: dict[str, Server] = {}
        self._ready: dict[str, tuple[str, int]] = {}
        for name, layers in _LAYERS.items():
            rows = np.random.default_rng(0).standard_normal((LEAST_ROWS, layers[0]), np.float32)
            spec = TensorSpec("x", DATATYPES["FP32"], (-1, layers[0]))
            write_reference(mlp_directory(models / name, *layers), reference_of([spec], {"x": rows}))

    @contextmanager
    def running(self) -> Iterator[Node]:
        """Be a node of the cluster; at the end all servers end."""
        with self._ends, super().running():
            yield self

    def ports(self, model: str) -> list[int]:
        """Where the ready servers of a model listen, as the endpoints of its Service would say."""
        return [port for name, port in [*self._ready.values()] if name == model]

    def pods(self, model: str) -> list[str]:
        """Those that are ready."""
        return [pod for pod, (name, _) in [*self._ready.items()] if name == model]

    def _tend(self, pod: Any) -> None:  # noqa: ANN401 - the client's generated type
        name, server = pod.metadata.name, self._servers.get(pod.metadata.name)
        if pod.metadata.deletion_timestamp is not None:
            self._ready.pop(name, None)
            if server is not None:
                self._prometheus.forget(f"127.0.0.1:{server.metrics_port}")
                server.terminate()
                server.wait()
        elif server is None:
            self._start(pod)
            return
        elif server.is_ready():
            self._ready[name] = pod.metadata.labels[names.NAME], server.port
        elif name not in self._ready:
            return
        super()._tend(pod)

    def _start(self, pod: Any) -> None:  # noqa: ANN401 - as above
        [container] = pod.spec.containers
        of_pods = ("--port=", "--metrics-port=", "--digest-file=")
        arguments = [each for each in container.args[2:] if not each.startswith(of_pods)]
        model, revision = (pod.metadata.labels[label] for label in (names.NAME, names.REVISION))
        directory = self._models / pod.metadata.name
        directory.symlink_to(self._models / model)
        server = self._ends.enter_context(started(directory, "--drain-delay=0s", *arguments))
        server.learn_ports()
        self._servers[pod.metadata.name] = server
        labels = {"namespace": NAMESPACE, "modelservice": model, "revision": revision, "pod": pod.metadata.name}
        labels |= {"job": model, "service": names.metrics_service(model), "container": names.SERVER}
        self._prometheus.scrape(f"127.0.0.1:{server.metrics_port}", **labels)


class Load(threading.Thread):
    """Asks the models all the time; how much, changes as the seconds go by."""

    def __init__(self, node: Node) -> None:
        super().__init__(name="load")
        self._node, self._began, self._ended = node, time.monotonic(), threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Ask until the end."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for number in range(max(askers for _, askers, _ in _PHASES)):
                group.create_task(self._ask(session, MODEL, number))
            group.create_task(self._ask(session, SMALL, 0))

    async def _ask(self, session: aiohttp.ClientSession, model: str, number: int) -> None:
        body = _question(_LAYERS[model][0])
        for turn in count(number):
            if self._ended.is_set():
                return
            gone = time.monotonic() - self._began
            askers, pause = next((how for begins, *how in reversed(_PHASES) if begins <= gone))
            found = self._node.ports(model)
            if number >= askers or not found:
                await asyncio.sleep(0.5)
                continue
            with suppress(aiohttp.ClientError):  # the pod has just gone
                url = f"http://127.0.0.1:{found[turn % len(found)]}/v2/models/{model}/infer"
                async with session.post(url, data=body) as answer:
                    await answer.read()
            await asyncio.sleep(pause)


def _question(columns: int) -> bytes:
    tensor = {"name": "x", "shape": [1, columns], "datatype": "FP32", "data": [0.1] * columns}
    return json.dumps({"inputs": [tensor]}).encode()


def _language(server: Vllm) -> str:
    """Return what vLLM exposes, a little more each time."""
    for _ in range(10):
        server.answers("2xx")
        server.latency.observe(1.2)
        server.first_token.observe(0.08)
        server.inter_token.observe(0.03)
    return generate_latest(server.registry).decode()


@dataclass(frozen=True)
class Watched:
    """Models that are being asked, and the Prometheus that watches them."""

    prometheus: Prometheus
    services: Services
    began: float
    """When Prometheus began, in seconds since 1970."""

    def roll(self) -> None:
        """Let a new revision of the model come."""
        self.services.apply(MODEL, **_SPECS[MODEL] | {"serving": {"maxQueue": 16, "maxBatchSize": 32}})

    def is_settled(self) -> bool:
        """Tell whether the latest spec of the model is in force."""
        return bool(self.services.condition("Ready", MODEL).get("status") == "True")


@contextmanager
def watched() -> Iterator[Watched]:
    """Bring everything up."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place, ExitStack() as stack:
        directory = Path(place)
        plane = stack.enter_context(ControlPlane(directory / "cluster", controllers=True))
        install_crd(plane)
        kubectl, prometheus = kubectl_of(plane), Prometheus(directory / "prometheus")
        kubectl("apply", "--server-side", f"--filename={definition('prometheusrules', 'monitoring.coreos.com')}")
        kubectl("create", "namespace", NAMESPACE)
        services = Services(kubectl, NAMESPACE)
        until(lambda: services.all("serviceaccounts"), "the namespace is usable")

        node = stack.enter_context(Node(plane, directory / "models", prometheus).running())
        operator = OperatorProcess(kubectl, plane.kubeconfig, directory, ports.free(1)[0])
        operator.configure(**{"nvidia-l4": {"resource": "nvidia.com/gpu", "pricePerHour": 0.8}})
        config = json.loads(operator.config.read_text()) | {"prometheus": {"url": prometheus.url}}
        operator.config.write_text(json.dumps(config | {"monitoring": {"dashboardUrl": DASHBOARD}}))
        stack.callback(operator.stop)
        operator.start()
        for name, spec in _SPECS.items():
            services.apply(name, **spec)
        until(lambda: len(services.all("prometheusrules")) == len(_SPECS), "the operator has made the rules")
        groups = [group for each in services.all("prometheusrules") for group in each["spec"]["groups"]]

        exporters = stack.enter_context(
            pages(gpus=lambda: gpus.exposition(NAMESPACE, node.pods(MODEL)), vllm=partial(_language, Vllm()))
        )
        own = {"job": "modelservice-operator", "namespace": "modelservice-system", "pod": "modelservice-operator-1"}
        prometheus.scrape(operator.url.removeprefix("http://"), honour=True, **own)
        prometheus.scrape(exporters, path="/gpus", namespace="gpu-operator", pod="dcgm-exporter-1", job="dcgm-exporter")
        language = {"modelservice": LANGUAGE, "job": LANGUAGE, "revision": f"{LANGUAGE}-1", "pod": f"{LANGUAGE}-1-1"}
        prometheus.scrape(exporters, path="/vllm", namespace=NAMESPACE, **language)
        stack.enter_context(prometheus.running(groups))
        stack.enter_context(Load(node))
        yield Watched(prometheus, services, time.time())
