"""The example of the articles, from apply to scrape."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from cluster import binaries

if TYPE_CHECKING:
    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.kubectl import Kubectl
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node


def test_three_replicas_answer_what_the_perceptron_learned(
    nlp_model: ModelService, perceptron: Model, client: Client
) -> None:
    assert perceptron.loss < 0.01
    answers = client.infer("nlp-model", perceptron.inputs)
    for answer, golden in zip(answers, perceptron.outputs, strict=True):
        assert answer == pytest.approx(golden, abs=1e-5)
    assert nlp_model.get()["status"]["url"] == "http://nlp-model.e2e.svc:8080"
    assert '"nlp-model"' in client.get("http://nlp-model.e2e.svc:8080/v2/models/nlp-model")


def test_its_pods_carry_the_user_s_label(nlp_model: ModelService, kubectl: Kubectl) -> None:
    labelled = kubectl.items("pods", "--selector=app=nlp-model")
    assert sorted(pod["metadata"]["name"] for pod in labelled) == nlp_model.pods()


def test_what_the_annotations_name_is_scraped_from_every_pod(
    nlp_model: ModelService, kubectl: Kubectl, client: Client
) -> None:
    service = kubectl.get("service", "nlp-model-metrics")
    assert service["spec"]["clusterIP"] == "None"
    named = service["metadata"]["annotations"]
    assert named["prometheus.io/scrape"] == "true"
    port, path = named["prometheus.io/port"], named["prometheus.io/path"]
    slices = kubectl.items("endpointslices", "--selector=kubernetes.io/service-name=nlp-model-metrics")
    endpoints = [endpoint for part in slices for endpoint in part["endpoints"]]
    assert sorted(endpoint["targetRef"]["name"] for endpoint in endpoints) == nlp_model.pods()
    for endpoint in endpoints:
        metrics = client.get(f"http://{endpoint['addresses'][0]}:{port}{path}")
        assert 'model="nlp-model"' in metrics
        promtool = [binaries.path("promtool"), "check", "metrics"]
        checked = subprocess.run(promtool, input=metrics, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", ""), metrics
