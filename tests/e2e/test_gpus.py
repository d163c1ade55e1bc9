"""Five replicas of one GPU each, where there are four. No device stands behind them: the scheduler only counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.advertise import advertise
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node


@pytest.fixture
def four_gpus(kubeconfig: Path) -> Iterator[None]:
    advertise(kubeconfig, "nvidia.com/gpu=4")
    yield
    advertise(kubeconfig, "nvidia.com/gpu=0")


@pytest.mark.usefixtures("four_gpus")
def test_four_serve_and_the_fifth_waits_in_the_scheduler_s_words(
    services: Callable[[str], ModelService], perceptron: Model, client: Client
) -> None:
    service = services("gpus")
    model = {"uri": perceptron.uri, "digest": perceptron.digest}
    service.apply(model=model, replicas=5, accelerator={"resource": "nvidia.com/gpu"})
    until(lambda: service.get()["status"].get("readyReplicas") == 4, "four pods are ready", patience=120)
    scheduled = service.until("Scheduled", "False", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in scheduled["message"]
    assert scheduled["message"] in service.until("Ready", "False", "WaitingForCapacity")["message"]
    assert service.condition("Available")["status"] == "True"
    assert client.infer("gpus", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
    service.scale(4)
    service.until_ready(4)
    assert service.condition("Scheduled")["status"] == "True"
