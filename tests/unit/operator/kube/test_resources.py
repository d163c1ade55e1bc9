from __future__ import annotations

from modelservice_operator.kube.resources import DEPLOYMENTS, MODEL_SERVICES, SERVICES, Resource, resource_of


def test_paths_are_those_of_the_api_server() -> None:
    assert SERVICES.path() == "/api/v1/services"
    assert DEPLOYMENTS.path("ml") == "/apis/apps/v1/namespaces/ml/deployments"
    assert (
        MODEL_SERVICES.path("ml", "digits", "status")
        == "/apis/modelservice.dev/v1alpha1/namespaces/ml/modelservices/digits/status"
    )


def test_what_has_no_namespace_has_none_in_its_path() -> None:
    nodes = Resource("", "v1", "Node", "nodes", namespaced=False)
    assert nodes.path("ml", "node-1") == "/api/v1/nodes/node-1"


def test_a_manifest_tells_its_resource() -> None:
    assert resource_of({"apiVersion": "apps/v1", "kind": "Deployment"}) is DEPLOYMENTS
