"""Serving does not need the operator, and neither does deleting: it may be killed, stopped or uninstalled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.installed import Operator
    from e2e.kubectl import Kubectl
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

CHILDREN = ("controllerrevisions", "configmaps", "deployments", "replicasets", "pods", "services", "endpointslices")


def test_a_deleted_service_leaves_nothing(services: Callable[[str], ModelService], perceptron: Model) -> None:
    service = services("leaving")
    service.apply(model={"uri": perceptron.uri})
    service.until_ready(1)
    kinds = {trace.partition("/")[0] for trace in service.traces()}
    assert kinds > {"ModelService", "ControllerRevision", "ConfigMap", "Deployment", "Pod", "Service"}
    service.delete()
    until(lambda: not service.traces(), "nothing is left", details=service.traces)


def test_a_service_that_is_deleted_while_the_operator_is_away_leaves_nothing(
    services: Callable[[str], ModelService], perceptron: Model, operator: Operator
) -> None:
    service = services("orphan")
    service.apply(model={"uri": perceptron.uri})
    service.until_ready(1)
    operator.stop()
    service.delete()
    until(lambda: not service.traces(), "nothing is left", details=service.traces)
    operator.start()


def test_when_the_operator_that_works_is_killed_the_other_one_changes_nothing(
    nlp_model: ModelService, operator: Operator, client: Client, kubectl: Kubectl
) -> None:
    def versions() -> dict[str, str]:
        objects = [nlp_model.get(), *nlp_model.children(*CHILDREN)]
        return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in objects}

    def is_idle(address: str) -> bool:
        page = client.get(f"http://{address}:8080/metrics")
        looked = _value(page, "reconcile_seconds_count") >= len(kubectl.items("modelservices"))
        return looked and _value(page, "queue_depth") == _value(page, "longest_reconcile_seconds") == 0

    def are_available() -> bool:  # which the controllers note some seconds after the pods are ready
        deployments = nlp_model.children("deployments")
        return all(each["status"].get("availableReplicas") == each["spec"]["replicas"] for each in deployments)

    until(are_available, "its pods are available")
    before, killed = versions(), operator.until_ready()["metadata"]["name"]
    operator.kubectl("delete", "pod", killed, "--namespace=modelservice-system", "--grace-period=0", "--force")
    successor = operator.until_ready()
    assert successor["metadata"]["name"] != killed
    until(lambda: is_idle(successor["status"]["podIP"]), "it has looked at everything")
    assert versions() == before


def _value(page: str, metric: str) -> float:
    found = re.search(rf"^modelservice_operator_{metric} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_services_serve_on_when_the_operator_is_uninstalled(
    nlp_model: ModelService, operator: Operator, client: Client, perceptron: Model
) -> None:
    uid, pods = nlp_model.get()["metadata"]["uid"], nlp_model.pods()
    with client.load("nlp-model", perceptron.inputs) as load:
        load.until_answered_by(*pods)
        operator.uninstall()
        load.until_more()
        assert nlp_model.pods() == pods
        operator.install()
        nlp_model.until_ready(3)
    assert load.failures == []
    assert nlp_model.get()["metadata"]["uid"] == uid
    assert nlp_model.pods() == pods
