"""A new model earns its traffic: real models, better, wrong, slow and broken ones, under steady load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e import client as clients
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.client import Client
    from e2e.kubectl import Kubectl, Object
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

# Runs in the client's pod. The models of the digits: one of few epochs, one of many, one that learned from shuffled
# labels, one that sleeps before each answer, and one that cannot be loaded. The data are made, not downloaded: eight
# classes, each a pattern of sixteen pixels with noise.
_PREPARE = f"""
import json, pathlib, subprocess, sys
import numpy as np
folder = pathlib.Path("{clients.MODELS}/rollouts")
folder.mkdir(exist_ok=True)
random = np.random.default_rng(0)
patterns = random.normal(size=(8, 16))
def rows(count):
    y = random.integers(0, 8, count)
    return (patterns[y] + random.normal(scale=0.9, size=(count, 16))).astype(np.float32), y
train, held_out = rows(2000), rows(400)
np.savez(folder / "held-out.npz", x=held_out[0], y=held_out[1])
np.savez(folder / "train.npz", x=train[0], y=train[1])
np.savez(folder / "shuffled.npz", x=train[0], y=random.permutation(train[1]))
def fit(name, data, epochs):
    command = ["model-server", "train", f"--data={{folder}}/{{data}}.npz", "--architecture=mlp", "--hidden=32",
               "--loss=CrossEntropy", "--optimizer=Adam", "--learning-rate=3e-3", "--batch-size=64",
               f"--epochs={{epochs}}", f"--out={{folder}}/{{name}}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
fit("few", "train", 2)
fit("many", "train", 30)
fit("wrong", "shuffled", 2)
for name, code in {{
    "slow": "import time, torch\\ndef load(directory):\\n    def answer(x):\\n        time.sleep(0.15)\\n"
            "        return torch.zeros(len(x), 8)\\n    return answer\\n",
    "broken": "def load(directory):\\n    raise RuntimeError('no weights')\\n",
}}.items():
    (folder / name).mkdir(exist_ok=True)
    card = json.loads((folder / "many/model.json").read_text())
    for field in ("architecture", "parameters", "golden"):
        card.pop(field, None)
    (folder / name / "model.json").write_text(json.dumps({{**card, "format": "python"}}))
    (folder / name / "handler.py").write_text(code)
print(json.dumps(held_out[0][:4].tolist()))
"""
EVALUATION = {
    "dataset": {"uri": "pvc://models/rollouts/held-out.npz"},
    "metrics": [{"name": "accuracy", "min": "0.6", "maxRegression": "0.02"}],
}


@pytest.fixture(scope="module")
def inputs(client: Client) -> list[list[float]]:
    """Train them all; return rows to ask about."""
    rows: list[list[float]] = json.loads(client.run("python3", "-c", _PREPARE))
    return rows


def model(name: str) -> Object:
    trust = {"trust": "Native"} if name in {"slow", "broken"} else {}
    return {"uri": f"pvc://models/rollouts/{name}", **trust}


def newest(service: ModelService) -> Object:
    return dict(service.get()["status"]["history"][0])


def test_a_better_model_is_let_in_a_wrong_one_is_not_a_slow_one_is_taken_back_and_nobody_notices(
    services: Callable[[str], ModelService], client: Client, inputs: list[list[float]], kubectl: Kubectl
) -> None:
    service = services("earner")
    promise: dict[str, Any] = {"replicas": 2, "evaluation": EVALUATION}
    service.apply(model=model("few"), **promise)
    service.until_ready(2)
    first = newest(service)
    assert first["decision"] == "Promoted"
    with client.load("earner", inputs) as load:
        load.until_answered_by(*service.pods())

        service.apply(model=model("many"), **promise)
        service.until_ready(2)
        better = newest(service)
        assert better["decision"] == "Promoted"
        assert float(better["measured"]["accuracy"]) >= float(first["measured"]["accuracy"])
        serving = service.stable

        service.apply(model=model("wrong"), **promise)
        assert "accuracy is 0." in service.until("Stalled", "True", "GateFailed")["message"]
        assert (newest(service)["decision"], service.stable) == ("Failed", serving)

        # No evaluation would let it in; live requests must find it out.
        analysis = {"minRequests": 40, "maxLatencyRegression": "50%"}
        steps = [{"weight": "34%", "pause": "10m"}]
        service.apply(model=model("slow"), replicas=2, rollout={"steps": steps, "analysis": analysis})
        assert "95% of" in service.until("Stalled", "True", "LatencyRegression")["message"]
        slow = newest(service)
        assert (slow["decision"], service.stable) == ("RolledBack", serving)
        assert float(slow["measured"]["latency_p95_live"]) > 0.1
        until(lambda: len(service.children("deployments")) == 1, "its pods are gone", patience=60)
        load.until_answered_by(*service.pods())
    assert load.failures == []
    assert not kubectl.items("jobs", "--selector=modelservice.dev/name=earner")


def test_a_model_that_does_not_load_gets_no_traffic_and_is_given_up_with_its_words(
    services: Callable[[str], ModelService], client: Client, inputs: list[list[float]]
) -> None:
    service = services("loader")
    service.apply(model=model("many"), replicas=1, startupTimeout="20s")
    service.until_ready(1)
    serving = service.stable
    with client.load("loader", inputs) as load:
        service.apply(model=model("broken"), replicas=1, startupTimeout="20s")
        assert "no weights" in service.until("Stalled", "True", "NeverReady")["message"]
        load.until_more()
    assert load.failures == []
    assert {*load.answers} == {*service.pods()}
    assert service.stable == serving
