"""Records what real autoscalers do about a step of the load: `python -m controlplane.record FILE`, eight minutes.

The real controller of HPAs, at its own pace, once with an External metric and once behind the real KEDA, each with a
ModelService on nodes of kwok. What is written holds for each time that the controller asked for the metric: seconds,
the metric, replicas that were asked for and ready then, and replicas that were asked for afterwards.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from cluster import kwok, ports
from cluster.controlplane import ControlPlane
from cluster.pins import KEDA, KUBERNETES
from controlplane import keda, metrics_api, pages
from controlplane.conftest import install_crd, kubectl_of, new_namespace
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from controlplane.witness import Witness
from waiting import until

Object = dict[str, Any]

TARGET, LEAST, MOST, STABILIZATION = 8, 1, 12, 60
LOAD = ((0, 7), (30, 62), (90, 63.5), (110, 21))
"""From so many seconds on, so many requests are in flight."""
SECONDS = 200
_BOUNDS = {"minReplicas": LEAST, "maxReplicas": MOST}
_BEHAVIOR = {"scaleDown": {"stabilizationWindowSeconds": STABILIZATION}}
_SCALED = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "name": "m"}


class Source:
    """A page with the load, for KEDA, which notes when it was asked."""

    def __init__(self) -> None:
        self.inflight = 0.0
        self.asked: list[tuple[float, float]] = []

    def page(self) -> str:
        self.asked.append((time.monotonic(), self.inflight))
        return json.dumps({"inflight": self.inflight})


def hpa() -> Object:
    """Return an HPA with nothing but defaults, except for a shorter window."""
    metric = {"metric": {"name": "inflight"}, "target": {"type": "AverageValue", "averageValue": str(TARGET)}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "m"},
        "spec": _BOUNDS
        | {"scaleTargetRef": _SCALED, "metrics": [{"type": "External", "external": metric}], "behavior": _BEHAVIOR},
    }


def scaled_object(url: str) -> Object:
    """Return the same for KEDA."""
    trigger = {"url": url, "valueLocation": "inflight", "targetValue": str(TARGET)}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "m"},
        "spec": {
            "scaleTargetRef": _SCALED,
            "minReplicaCount": LEAST,
            "maxReplicaCount": MOST,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _BEHAVIOR}},
            "triggers": [{"type": "metrics-api", "metricType": "AverageValue", "metadata": trigger}],
        },
    }


def record(plane: ControlPlane, autoscaler: Object, source: metrics_api.MetricsApi | Source) -> list[list[float]]:
    """Let an autoscaler meet the load."""
    kubectl = kubectl_of(plane)
    services = Services(kubectl, new_namespace(kubectl))
    until(lambda: services.all("serviceaccounts"), "the namespace is usable")
    source.inflight = LOAD[0][1]
    services.apply()
    services.until("Ready", "True")
    services.kubectl("apply", "-f", "-", stdin=autoscaler)
    with Witness(plane.kubeconfig).watching() as witness:
        until(lambda: services.all("hpa") and source.asked, "the controller has begun to look")
        until(lambda: _counts(services.get("modelservice")) == (1, 1), "one replica is there")
        begun = time.monotonic()
        first = len(source.asked)
        for (_, inflight), (end, _) in pairwise([*LOAD, (SECONDS, 0)]):
            source.inflight = inflight
            while time.monotonic() - begun < end:
                time.sleep(0.2)
        seen = [(each.time, *_counts(each.body)) for each in witness.changes(services.namespace, "ModelService")]
    asked = source.asked[first:]
    services.kubectl("delete", "modelservices,hpa", "--all")
    rows = []
    for (when, inflight), (then, _) in pairwise([*asked, (time.monotonic(), 0.0)]):
        wanted, ready = [(wanted, ready) for time_, wanted, ready in seen if time_ <= when][-1]
        after = [wanted for time_, wanted, _ in seen if time_ < then][-1]
        rows.append([round(when - begun, 1), inflight, wanted, ready, after])
    return rows


def _counts(service: Object) -> tuple[int, int]:
    """Return how many replicas are asked for, and how many are ready."""
    return int(service["spec"].get("replicas", 0)), int(service["status"].get("readyReplicas", 0))


def main(file: Path) -> None:
    """Record both, one after the other."""
    with contextlib.ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        plane = ends.enter_context(
            ControlPlane(directory / "cluster", kwok=True, api_flags=metrics_api.aggregation(directory / "front-proxy"))
        )
        install_crd(plane)
        kubectl = kubectl_of(plane)
        kubectl("create", "-f", "-", stdin=kwok.node("n1", {}))
        (directory / "operator").mkdir()
        operator = OperatorProcess(kubectl, plane.kubeconfig, directory / "operator", ports.free(1)[0])
        operator.start()
        ends.callback(operator.stop)
        found: Object = {
            "kubernetes": KUBERNETES,
            "keda": KEDA,
            "target": TARGET,
            "min_replicas": LEAST,
            "max_replicas": MOST,
            "stabilization_seconds": STABILIZATION,
            "columns": ["seconds", "inflight", "replicas", "ready", "replicas_after"],
        }
        names = (metrics_api.EXTERNAL,)
        with metrics_api.served(kubectl, plane.kubeconfig, directory / "metrics", names) as api:
            found["hpa_steps"] = record(plane, hpa(), api)
            api.unregister(metrics_api.EXTERNAL)
        source = Source()
        with pages.served(source.page) as port, keda.running(kubectl, plane.kubeconfig, directory / "keda"):
            found["keda_steps"] = record(plane, scaled_object(f"http://127.0.0.1:{port}/"), source)
        lines = [f"  {json.dumps(name)}: {_text(value)}" for name, value in found.items()]
        file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _text(value: object) -> str:
    """Write a row a line."""
    is_table = isinstance(value, list) and isinstance(value[0], list)
    return "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]" if is_table else json.dumps(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
