"""Replicas follow an open loop of requests, on real pods: how long each part of it takes, and that it costs nothing."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from e2e import client as clients
from modelservice_operator.scaling import Policy
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.client import Client
    from e2e.conftest import Operator
    from e2e.kubectl import Kubectl, Object
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

FEW, MANY = 12, 24  # requests a second: so many askers, each of which asks once a second
# Half a second for each batch, whatever is in it: a request has its own and half of the one before, so a pod of 12
# requests a second has 9 of them at a time, between 6 and 12.
_HANDLER = """
import time

def load(directory):
    def answer(x):
        time.sleep(0.5)
        return x
    return answer
"""
_PREPARE = f"""
import json, pathlib
folder = pathlib.Path("{clients.MODELS}/sleeper")
folder.mkdir(exist_ok=True)
tensor = {{"datatype": "FP32", "shape": [-1, 1]}}
card = {{"format": "python", "inputs": [{{"name": "x", **tensor}}], "outputs": [{{"name": "y", **tensor}}]}}
(folder / "model.json").write_text(json.dumps(card))
(folder / "handler.py").write_text({_HANDLER!r})
"""
BOUNDS = {"minReplicas": 1, "maxReplicas": 3, "inflightPerReplica": 12}


def test_twice_the_load_gets_twice_the_pods_and_half_of_it_costs_no_request(
    services: Callable[[str], ModelService],
    client: Client,
    operator: Operator,
    kubectl: Kubectl,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client.run("python3", "-c", _PREPARE)
    service = services("sleeper")
    scaling = BOUNDS | {"scaleDownDelay": "0s"}
    service.apply(model={"uri": "pvc://models/sleeper", "trust": "Native"}, autoscaling=scaling)
    service.until_ready(1)
    (first,) = service.pods()
    leader = operator.until_ready()["status"]["podIP"]

    def figure(name: str, *, labels: str = "") -> float:
        page = client.get(f"http://{leader}:8080/metrics")
        found = re.search(
            rf'^modelservice_autoscaler_{name}{{[^}}]*name="sleeper"{labels}}} (\S+)$', page, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    with client.load("sleeper", [[1.0]], askers=FEW, period=1.0) as load:
        until(lambda: figure("rule", labels=',rule="Steady"'), "the load is what the pod is for", details=service.get)
        until(lambda: figure("inflight") >= FEW / 2, "the load is seen")
        time.sleep(Policy(target=1).stable_window)  # the windows are full of the load before
        load.order(MANY)
        times = {"step": time.time()}
        until(lambda: figure("inflight") >= MANY / 2, "signal")
        times["signal"] = time.time()
        until(lambda: service.get()["spec"]["replicas"] == 2, "decision", details=service.get)
        times["decision"] = time.time()
        (second,) = until(lambda: {*service.pods()} - {first}, "there is another pod")
        until(lambda: load.answers.get(second), "it is asked", patience=120, details=service.get)
        times["routable"] = time.time()
        times |= parts(kubectl.get("pod", second))
        service.until_ready(2)
        told = service.get()["status"]["autoscaling"]
        assert told["replicas"] == 2
        assert told["rule"] in {"Load", "Surge"}

        load.order(FEW)
        until(lambda: service.get()["spec"]["replicas"] == 1, "one is enough", details=service.get)
        until(lambda: len(service.children("pods")) == 1, "the other pod is gone")
        load.until_more()
    assert load.failures == []
    order = ("step", "signal", "decision", "schedule", "start", "load", "routable")
    # Kubernetes' times are whole seconds, so of two that differ by less the later one counts.
    seconds = [max(times[each] for each in order[: number + 1]) for number in range(len(order))]
    shown = {
        name: round(later - before, 1) for name, before, later in zip(order[1:], seconds, seconds[1:], strict=False)
    }
    with capsys.disabled():
        sys.stdout.write(f"\nFrom the step to a routable pod: {seconds[-1] - seconds[0]:.1f} s = {json.dumps(shown)}\n")


def parts(pod: Object) -> dict[str, float]:
    """When a pod had a node, when its server was started, and when that was ready."""
    conditions = {each["type"]: each["lastTransitionTime"] for each in pod["status"]["conditions"]}
    (server,) = (each for each in pod["status"]["containerStatuses"] if each["name"] == "server")
    found = {
        "schedule": conditions["PodScheduled"],
        "start": server["state"]["running"]["startedAt"],
        "load": conditions["Ready"],
    }
    return {name: datetime.fromisoformat(text).astimezone(UTC).timestamp() for name, text in found.items()}
