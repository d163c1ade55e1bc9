"""What happens to pods costs no request: under constant load, over fresh and over kept connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.modelservices import ModelService
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.installed import Operator
    from e2e.kubectl import Kubectl

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def busy(kubectl: Kubectl, operator: Operator, perceptron: Model) -> ModelService:
    """Two pods. Each story begins and ends with two."""
    del operator
    service = ModelService(kubectl, "busy")
    service.apply(model={"uri": perceptron.uri, "digest": perceptron.digest}, replicas=2)
    service.until_ready(2)
    return service


def test_a_killed_pod_costs_no_request(busy: ModelService, client: Client, perceptron: Model, kubectl: Kubectl) -> None:
    victim, survivor = busy.pods()
    with client.load("busy", perceptron.inputs) as load:
        load.until_answered_by(victim, survivor)
        kubectl("delete", "pod", victim)  # returns when it is gone
        busy.until_ready(2)
        (successor,) = {*busy.pods()} - {survivor}
        load.until_answered_by(successor)
    assert load.failures == []


def test_scaling_up_and_down_costs_no_request(busy: ModelService, client: Client, perceptron: Model) -> None:
    before = busy.pods()
    with client.load("busy", perceptron.inputs) as load:
        busy.scale(3)
        busy.until_ready(3)
        load.until_answered_by(*busy.pods())
        assert {*before} < {*busy.pods()}
        busy.scale(1)
        busy.until_ready(1)
        until(lambda: len(busy.children("pods")) == 1, "the other pods are gone")
        load.until_more()
        busy.scale(2)
        busy.until_ready(2)
    assert load.failures == []


def test_another_model_costs_no_request(
    busy: ModelService, client: Client, perceptron: Model, train: Callable[..., Model]
) -> None:
    other = train("other", seed=1)
    before, revision = busy.pods(), busy.stable
    with client.load("busy", perceptron.inputs) as load:
        load.until_answered_by(*before)
        busy.apply(model={"uri": other.uri, "digest": other.digest}, replicas=2)
        busy.until_ready(2)
        load.until_answered_by(*busy.pods())
        until(lambda: len(busy.children("pods")) == 2, "the previous pods are gone")
    assert load.failures == []
    assert busy.stable != revision
    assert not {*before} & {*busy.pods()}
    assert client.infer("busy", other.inputs)[0] == pytest.approx(other.outputs[0], abs=1e-5)
