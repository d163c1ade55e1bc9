"""A new model earns its traffic: real models, better, wrong, slow and broken ones, under steady load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e import digits
from e2e.digits import EVALUATION, FOLDER, Coded, Trained
from e2e.modelservices import ModelService
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.client import Client
    from e2e.installed import Operator
    from e2e.kubectl import Kubectl, Object

pytestmark = pytest.mark.node

MODELS = {"few": Trained(2), "many": Trained(30), "wrong": Trained(2, data="shuffled")}
CODED = {"slow": Coded("many", digits.slow(0.15)), "broken": Coded("many", digits.BROKEN)}


@pytest.fixture(scope="module")
def inputs(client: Client) -> list[list[float]]:
    """Train them all; return rows to ask about."""
    return digits.make(client, MODELS, CODED)


def model(name: str) -> Object:
    return digits.model(name, trust="Native" if name in CODED else "Data")


def newest(service: ModelService) -> Object:
    return dict(service.get()["status"]["history"][0])


def decided(service: ModelService, decision: str) -> list[Object]:
    return [each for each in service.get()["status"]["history"] if each["decision"] == decision]


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


@pytest.fixture(scope="module")
def loader(kubectl: Kubectl, operator: Operator, inputs: list[list[float]]) -> Iterator[ModelService]:
    """One pod of a good model."""
    del operator, inputs
    service = ModelService(kubectl, "loader")
    service.apply(model=model("many"), replicas=1)
    service.until_ready(1)
    yield service
    service.delete()


def test_a_model_that_does_not_load_gets_no_traffic_and_is_given_up_with_its_words(
    loader: ModelService, client: Client, inputs: list[list[float]]
) -> None:
    serving, pods = loader.stable, loader.pods()
    with client.load("loader", inputs) as load:
        loader.apply(model=model("broken"), replicas=1, startupTimeout="20s")
        assert "no weights" in loader.until("Stalled", "True", "NeverReady")["message"]
        load.until_more()
    assert "no weights" in newest(loader)["log"]
    assert load.failures == []
    assert [*load.answers] == pods
    assert loader.stable == serving


def test_a_model_that_is_overwritten_after_its_gate_is_refused(
    loader: ModelService, client: Client, inputs: list[list[float]], kubectl: Kubectl
) -> None:
    source, held = f"{FOLDER}/overwritten", {"steps": [{"weight": "50%", "pause": "10m"}]}
    client.run("cp", "--recursive", f"{FOLDER}/many", source)
    serving = loader.stable

    def newcomers() -> list[str]:
        return [pod for pod in loader.pods() if not pod.startswith(f"{serving}-")]

    with client.load("loader", inputs) as load:
        loader.apply(model=model("overwritten"), replicas=1, evaluation=EVALUATION, rollout=held)
        loader.until("Ready", "False", "Analysing")
        (good,) = newcomers()
        load.until_answered_by(good)
        digest = next(each["model"] for each in loader.get()["status"]["revisions"] if each["role"] == "Candidate")

        client.run("sh", "-c", f"cp {FOLDER}/wrong/* {source}")
        kubectl("delete", "pod", good)
        refused = loader.until("Ready", "False", "DigestMismatch")["message"]
        assert digest.partition("@")[2] in refused
        (successor,) = newcomers()
        load.until_more()

        loader.apply(model=model("few"), replicas=1)
        given_up = until(lambda: decided(loader, "Superseded"), "the history tells of it")[0]
        assert given_up["reason"] == "DigestMismatch"
        assert digest.partition("@")[2] in given_up["message"]
    assert load.failures == []
    assert good in load.answers
    assert successor not in load.answers
