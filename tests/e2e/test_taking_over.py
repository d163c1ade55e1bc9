"""A model that somebody runs by hand becomes a ModelService: named and untouched first, then without a lost request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e import client as clients
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.kubectl import Kubectl, Object
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

NAME = "by-hand"
LABELS = {"app": NAME}
SERVE = [f"--name={NAME}", "--port=8080", "--metrics-port=9090"]


def deployment() -> Object:
    """What people write who know the server and no operator: two pods that serve the model on the claim."""
    pod = clients.pod(NAME, [], {"models": {"persistentVolumeClaim": {"claimName": "models"}}, "tmp": {"emptyDir": {}}})
    (server,) = pod["spec"]["containers"]
    del server["command"], pod["spec"]["terminationGracePeriodSeconds"]
    server["args"] = ["serve", f"{clients.MODELS}/nlp-model", *SERVE]
    server["readinessProbe"] = {"httpGet": {"path": "/v2/health/ready", "port": 9090}, "periodSeconds": 1}
    template = {"metadata": {"labels": LABELS}, "spec": pod["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "labels": LABELS},
        "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template},
    }


def service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "labels": LABELS},
        "spec": {"selector": LABELS, "ports": [{"port": 8080, "targetPort": 8080}]},
    }


@pytest.fixture
def old_pods(kubectl: Kubectl, perceptron: Model) -> Iterator[list[str]]:
    """The names of the pods that serve before there is a ModelService."""
    assert perceptron.uri == "pvc://models/nlp-model"
    kubectl.apply(deployment(), service())
    kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=120s")
    yield [each["metadata"]["name"] for each in kubectl.items("pods", f"--selector=app={NAME}")]
    kubectl("delete", "service,deployment", NAME, "--ignore-not-found", "--wait=false")


def test_a_deployment_and_service_made_by_hand_are_taken_over_without_a_lost_request(
    old_pods: list[str],
    services: Callable[[str], ModelService],
    kubectl: Kubectl,
    client: Client,
    perceptron: Model,
) -> None:
    def objects() -> list[Object]:
        """Return what can be written of both; what becomes of the pods is in the status."""
        found = [kubectl.get(kind, NAME) for kind in ("service", "deployment")]
        for each in found:
            del each["status"], each["metadata"]["resourceVersion"]
        return found

    before = objects()
    address = before[0]["spec"]["clusterIP"]
    ours = services(NAME)
    with client.load(NAME, perceptron.inputs) as load:
        load.until_answered_by(*old_pods)
        # Its pods have the label, too, that the old Service selects.
        overlay = {"metadata": {"labels": LABELS}}
        ours.apply(model={"uri": perceptron.uri, "digest": perceptron.digest}, replicas=2, podTemplate=overlay)
        told = ours.until("Stalled", "True", "NameConflict")["message"]
        assert f"Service '{NAME}' already exists" in told
        assert f"so does Deployment '{NAME}'" in told
        load.until_more()
        assert objects() == before
        assert ours.pods() == []

        kubectl(*told.partition("kubectl ")[2].split())
        ours.until_ready(2)
        until(lambda: not set(old_pods) & pods(kubectl), "the old pods are gone", patience=60)
        load.until_answered_by(*ours.pods())
    assert load.failures == []
    assert pods(kubectl) == {*ours.pods()}
    assert kubectl.get("service", NAME)["spec"]["clusterIP"] == address
    assert [each["metadata"]["name"] for each in ours.children("deployments")] == [ours.stable]
    answers = client.infer(NAME, perceptron.inputs)
    assert answers[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)


def pods(kubectl: Kubectl) -> set[str]:
    return {each["metadata"]["name"] for each in kubectl.items("pods", f"--selector=app={NAME}")}
