"""What the stories share: a cluster with the operator in it, a claim, a client, and a trained model that is served."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml

from cluster.errors import MissingError
from cluster.home import Home
from e2e import client as clients
from e2e import installed
from e2e.installed import EXAMPLES
from e2e.modelservices import ModelService
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.client import Client
    from e2e.installed import Operator
    from e2e.kubectl import Kubectl, Object

HOME = Home("e2e")
PATIENCE_SECONDS = 180.0


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A cluster with both images, that forgets everything afterwards."""
    try:
        with installed.cluster(HOME) as kubeconfig:
            yield kubeconfig
    except MissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Iterator[Kubectl]:
    """kubectl, in a namespace that is gone afterwards."""
    with installed.namespace(kubeconfig) as kubectl:
        yield kubectl


@pytest.fixture(scope="session")
def operator(kubectl: Kubectl, kubeconfig: Path) -> Iterator[Operator]:
    """The operator, ready."""
    with installed.operator(kubectl, kubeconfig) as operator:
        yield operator


@pytest.fixture(scope="session")
def claim(kubectl: Kubectl) -> str:
    """The claim of the examples, with room."""
    return installed.claim(kubectl, HOME)


@pytest.fixture(scope="session")
def client(kubectl: Kubectl, claim: str) -> Client:
    """A pod that asks, and that may write to the claim."""
    return installed.client(kubectl, claim)


@dataclass(frozen=True)
class Model:
    """A trained model on the claim, and what it answers."""

    uri: str
    digest: str
    loss: float
    inputs: list[list[float]]
    outputs: list[list[float]]


_GOLDEN = """
import json, sys, numpy
golden = numpy.load(sys.argv[1] + "/golden.npz")
print(json.dumps([golden["inputs.x"].tolist(), golden["outputs.y"].tolist()]))
"""


@pytest.fixture(scope="session")
def train(kubectl: Kubectl, client: Client) -> Callable[..., Model]:
    """Train the example's perceptron in the example's Job; another seed makes another model."""

    def train(name: str, seed: int = 0) -> Model:
        job = yaml.safe_load((EXAMPLES / "nlp-model/train.yaml").read_text())
        job["metadata"]["name"] = f"train-{name}"
        arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
        arguments[-1:] = [f"--out={clients.MODELS}/{name}", f"--seed={seed}"]
        kubectl.apply(job)
        until(lambda: _ended(kubectl.get("job", f"train-{name}")), f"{name} is trained", patience=PATIENCE_SECONDS)
        result = json.loads(kubectl("logs", f"job/train-{name}").splitlines()[-1])
        inputs, outputs = json.loads(client.run("python3", "-c", _GOLDEN, f"{clients.MODELS}/{name}"))
        return Model(f"pvc://models/{name}", result["digest"], result["loss"], inputs, outputs)

    return train


def _ended(job: Object) -> bool:
    conditions = {each["type"]: each["message"] for each in job.get("status", {}).get("conditions", ())}
    if "Failed" in conditions:
        pytest.fail(conditions["Failed"])
    return "Complete" in conditions


@pytest.fixture(scope="session")
def perceptron(train: Callable[..., Model]) -> Model:
    """The model of examples/nlp-model.yaml."""
    return train("nlp-model")


@pytest.fixture(scope="session")
def nlp_model(kubectl: Kubectl, operator: Operator, perceptron: Model) -> ModelService:
    """examples/nlp-model.yaml, as it stands, serving. Stories that share it leave it so."""
    del operator, perceptron
    kubectl("apply", f"--filename={EXAMPLES / 'nlp-model.yaml'}")
    service = ModelService(kubectl, "nlp-model")
    service.until_ready(3)
    return service


@pytest.fixture
def services(kubectl: Kubectl, operator: Operator) -> Iterator[Callable[[str], ModelService]]:
    """Make ModelServices of one story's own, by name."""
    del operator
    made: list[ModelService] = []

    def make(name: str) -> ModelService:
        made.append(ModelService(kubectl, name))
        return made[-1]

    yield make
    kubectl("delete", "modelservices", "--ignore-not-found", "--wait=false", *(each.name for each in made))
