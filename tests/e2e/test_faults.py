"""What is wrong with a new revision is said in a sentence that names it, the previous one serves on, a fix recovers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from e2e.modelservices import ModelService

if TYPE_CHECKING:
    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.installed import Operator
    from e2e.kubectl import Kubectl

pytestmark = pytest.mark.node

URI = "pvc://models/nlp-model"
GOOD: dict[str, Any] = {"model": {"uri": URI}}
WRONG_DIGEST = "sha256:" + "0" * 64
NO_IMAGE = "localhost/no-such/server:1"


class Mistake(NamedTuple):
    """What a user writes, and what is to be said about it."""

    spec: dict[str, Any]
    reason: str
    words: str


MISTAKES = {
    "digest": Mistake({"model": {"uri": URI, "digest": WRONG_DIGEST}}, "DigestMismatch", WRONG_DIGEST),
    "directory": Mistake({"model": {"uri": "pvc://models/no-such"}}, "FetchFailed", "no directory no-such"),
    "image": Mistake({"runtime": {"image": NO_IMAGE}}, "ImagePullFailed", f'Image "{NO_IMAGE}"'),
    "argument": Mistake({"runtime": {"args": ["--fast"]}}, "LoadFailed", "unrecognized arguments: --fast"),
}


@pytest.fixture(scope="module")
def shared(kubectl: Kubectl, operator: Operator, perceptron: Model) -> ModelService:
    """One ModelService for all stories, because each of them ends with a recovery."""
    assert perceptron.uri == URI
    del operator
    return ModelService(kubectl, "steady")


@pytest.fixture
def steady(shared: ModelService) -> ModelService:
    """One pod of a good revision."""
    shared.apply(**GOOD)
    shared.until_ready(1)
    return shared


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_and_harms_nobody(
    steady: ModelService, perceptron: Model, client: Client, mistake: Mistake
) -> None:
    revision, pods = steady.stable, steady.pods()
    steady.apply(**GOOD | mistake.spec)
    ready = steady.until("Ready", "False", mistake.reason)
    assert mistake.words in ready["message"]
    assert steady.condition("Available")["status"] == "True"
    assert steady.stable == revision
    assert client.infer("steady", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
    steady.apply(**GOOD)
    steady.until_ready(1)
    assert steady.pods() == pods


def test_a_missing_secret_is_named_and_making_it_is_enough(
    steady: ModelService, perceptron: Model, client: Client, kubectl: Kubectl
) -> None:
    revision = steady.stable
    token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "late", "key": "token"}}}
    steady.apply(**GOOD, runtime={"env": [token]})
    ready = steady.until("Ready", "False", "ConfigMissing")
    assert 'secret "late" not found' in ready["message"]
    assert steady.stable == revision
    assert client.infer("steady", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
    kubectl("create", "secret", "generic", "late", "--from-literal=token=hello")
    steady.until_ready(1)
    assert steady.stable != revision
