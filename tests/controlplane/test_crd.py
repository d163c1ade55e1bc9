"""The definition of ModelService on a real API server: what it accepts, what it says, what its subresources do."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from modelservice_operator.api import API_VERSION, KIND, PLURAL
from modelservice_operator.api.quantity import Quantity
from unit.operator.api.cases import BAD_NAMES, INVALID, VALID, Invalid, Spec, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.controlplane import ControlPlane

    Kubectl = Callable[..., str]

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Rest:
    """Requests to the API server as its administrator, answers as they are."""

    def __init__(self, plane: ControlPlane) -> None:
        tls = ssl.create_default_context(cafile=str(plane.ca))
        self._connection = http.client.HTTPSConnection("127.0.0.1", plane.settings.api_port, context=tls)
        self._token = plane.admin_token
        self.close = self._connection.close

    def __call__(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> tuple[int, dict[str, Any]]:
        """Send one request and return its status and its object."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def rest(control_plane: ControlPlane) -> Iterator[Rest]:
    with closing(Rest(control_plane)) as rest:
        yield rest


def path(namespace: str, name: str = "", *, subresource: str = "", query: str = "") -> str:
    """Return the address of ModelServices."""
    parts = ["/apis", API_VERSION, "namespaces", namespace, PLURAL, name, subresource]
    return "/".join(part for part in parts if part) + (f"?{query}" if query else "")


def service(spec: Spec, name: str = "digits", **more: object) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec, **more}


def create(rest: Rest, namespace: str, spec: Spec, **more: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401 - JSON
    return rest("POST", path(namespace, query="fieldManager=user&fieldValidation=Strict"), service(spec, **more))


# -- what is accepted


@pytest.mark.parametrize("case", VALID.values(), ids=VALID)
def test_a_valid_spec_is_stored(rest: Rest, namespace: str, case: Spec) -> None:
    status, answer = create(rest, namespace, case)
    assert status == 201, answer["message"]


@pytest.mark.parametrize("case", INVALID.values(), ids=INVALID)
def test_an_invalid_spec_is_refused_with_its_path_and_what_to_do(rest: Rest, namespace: str, case: Invalid) -> None:
    status, answer = create(rest, namespace, case.spec)
    assert status == 422
    causes = {cause["field"]: cause["message"] for cause in answer["details"]["causes"]}
    assert case.path in causes
    assert case.message is None or case.message in causes[case.path]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_service_may_have_is_refused(rest: Rest, namespace: str, name: str) -> None:
    status, answer = create(rest, namespace, spec(), name=name)
    assert status == 422
    assert "metadata.name must start with a letter" in answer["message"]


def test_a_variable_has_one_value(rest: Rest, namespace: str) -> None:
    status, answer = create(rest, namespace, spec(runtime={"env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]}))
    assert status == 422
    assert 'spec.runtime.env[2]: Duplicate value: {"name":"A"}' in answer["message"]


def test_users_read_one_sentence_per_mistake(kubectl: Kubectl, namespace: str) -> None:
    wrong = spec(model={"uri": "s3://x"}, serving={"requestTimeout": "2h"}, accelerator={"count": 2})
    with pytest.raises(AssertionError) as refused:
        kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=service(wrong))
    told = str(refused.value)
    assert "* spec.model.uri: " in told
    assert '* spec.serving.requestTimeout: Invalid value: "2h": must be a duration from 1ms to 1h' in told
    assert "* spec.accelerator: Invalid value: give either class (defined by the administrator) or resource" in told


def test_a_misspelt_field_is_named(kubectl: Kubectl, namespace: str) -> None:
    with pytest.raises(AssertionError, match=r'unknown field "spec\.servign"'):
        kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=service(spec(servign={})))


def test_amounts_are_written_as_the_server_stores_them_in_a_pod(rest: Rest, namespace: str) -> None:
    numbers = ("1", "0.5", ".001", "1000", "1024", "1536", "2.50", "1048576", "1001", "123456", "0")
    suffixes = ("", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E-3", "e0")
    written = [number + suffix for number in numbers for suffix in suffixes]
    amounts = [Quantity.parse(text) for text in written]

    def stored(cpus: list[str]) -> list[str]:
        containers = [
            {"name": f"c{number}", "image": "x", "resources": {"requests": {"cpu": cpu}}}
            for number, cpu in enumerate(cpus)
        ]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": containers}}
        status, answer = rest("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        assert status == 201, answer["message"]
        return [container["resources"]["requests"]["cpu"] for container in answer["spec"]["containers"]]

    assert [Quantity.parse(text) for text in stored(written)] == amounts
    ours = [str(amount) for amount in amounts]
    assert stored(ours) == ours


# -- what users see


@pytest.mark.parametrize("field", ["", ".spec.model", ".spec.runtime.env.valueFrom", ".spec.podTemplate", ".status"])
def test_explain_is_a_manual(kubectl: Kubectl, field: str) -> None:
    text = kubectl("explain", f"modelservice{field}")
    assert "<no description>" not in text
    assert "<empty>" not in text


def test_explain_tells_where_a_model_may_be(kubectl: Kubectl) -> None:
    text = " ".join(kubectl("explain", "modelservice.spec.model").split())
    assert "uri <string> -required- Where the model is: `file:///path` (a directory in the server's image)" in text


def test_get_shows_whether_it_serves_and_why_not(rest: Rest, kubectl: Kubectl, namespace: str) -> None:
    create(rest, namespace, spec(replicas=3))
    ready = {"type": "Ready", "status": "False", "reason": "ModelLoading", "message": "Loading."}
    ready |= {"observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    stable = {"name": "digits-0123456789", "role": "Stable", "model": "pvc://models/digits", "weight": "100%"}
    stable |= {"replicas": 3, "ready": 2}
    candidate = {**stable, "name": "digits-abcdefghij", "role": "Candidate", "replicas": 1, "ready": 0}
    status = {
        "observedGeneration": 1,
        "conditions": [{**ready, "type": "Available", "status": "True"}, ready],
        "url": "http://digits.ml.svc:8080",
        "readyReplicas": 2,
        "revisions": [candidate, stable],
        "slo": [
            {"name": "latency", "target": "99%", "budgetRemaining": "-3%", "burnRate": "14.4"},
            {"name": "availability", "target": "99.9%"},
        ],
    }
    code, _ = rest("PATCH", path(namespace, "digits", subresource="status"), {"status": status}, content_type=MERGE)
    assert code == 200
    head, row = kubectl("get", "modelsvc", f"--namespace={namespace}").splitlines()
    assert head.split() == ["NAME", "READY", "REASON", "WANTED", "SERVING", "BUDGET", "URL", "AGE"]
    assert row.split()[:-1] == ["digits", "False", "ModelLoading", "3", "2", "-3%", "http://digits.ml.svc:8080"]
    head, row = kubectl("get", "modelservices", f"--namespace={namespace}", "--output=wide").splitlines()
    assert head.split()[-2:] == ["MODEL", "REVISION"]
    assert row.split()[-2:] == ["pvc://models/digits", "digits-0123456789"]
    assert "modelservice.modelservice.dev/digits" in kubectl("get", "all", f"--namespace={namespace}", "--output=name")


# -- status and scale


def test_an_unseen_object_says_so_whatever_its_author_claims(rest: Rest, namespace: str) -> None:
    _, answer = create(rest, namespace, spec(), status={"observedGeneration": 7, "url": "http://liar"})
    assert answer["status"] == {"observedGeneration": -1}


def test_only_the_leaf_defaults_are_stored(rest: Rest, namespace: str) -> None:
    _, answer = create(rest, namespace, spec(serving={"maxQueue": 8}))
    assert answer["spec"] == {
        "model": {"uri": "pvc://models/digits", "trust": "Data"},
        "serving": {"maxBatchSize": 64, "maxBatchDelay": "0s", "maxQueue": 8, "requestTimeout": "10s"},
        "precision": "Auto",
        "startupTimeout": "10m",
    }


def test_scale_reads_replicas_and_selector(rest: Rest, namespace: str) -> None:
    create(rest, namespace, spec(replicas=3))
    status = {"replicas": 2, "selector": "modelservice.dev/name=digits"}
    rest("PATCH", path(namespace, "digits", subresource="status"), {"status": status}, content_type=MERGE)
    code, scale = rest("GET", path(namespace, "digits", subresource="scale"))
    assert (code, scale["spec"], scale["status"]) == (200, {"replicas": 3}, status)


def test_absent_replicas_cannot_be_read_through_scale(rest: Rest, namespace: str) -> None:
    """Why the operator writes the number that runs: an autoscaler begins by reading."""
    create(rest, namespace, spec())
    code, answer = rest("GET", path(namespace, "digits", subresource="scale"))
    assert code == 500
    assert 'the spec replicas field ".spec.replicas" does not exist' in answer["message"]


@pytest.mark.parametrize("replicas", [0, 3])
def test_absent_replicas_can_be_written_through_scale(rest: Rest, namespace: str, replicas: int) -> None:
    _, created = create(rest, namespace, spec())
    version = created["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
    address = path(namespace, "digits", subresource="scale", query="fieldManager=modelservice-operator")
    code, _ = rest("PATCH", address, body, content_type=MERGE)
    assert code == 200
    _, stored = rest("GET", path(namespace, "digits"))
    assert stored["spec"]["replicas"] == replicas
    code, _ = rest("PATCH", address, body, content_type=MERGE)
    assert code == 409, "a number decided on an older object must not be written"


def test_scale_cannot_be_applied(rest: Rest, namespace: str) -> None:
    """Server-side apply knows no conversion to a Scale; the operator must patch."""
    create(rest, namespace, spec())
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "digits"}, "spec": {"replicas": 3}}
    address = path(namespace, "digits", subresource="scale", query="fieldManager=modelservice-operator&force=true")
    code, _ = rest("PATCH", address, scale, content_type=APPLY)
    assert code == 500


def test_kubectl_scale_works_with_and_without_replicas(kubectl: Kubectl, rest: Rest, namespace: str) -> None:
    create(rest, namespace, spec())
    for replicas in (2, 0):
        kubectl("scale", "modelservice/digits", f"--replicas={replicas}", f"--namespace={namespace}")
        assert rest("GET", path(namespace, "digits"))[1]["spec"]["replicas"] == replicas


# -- apply


@pytest.mark.parametrize("how", ["--server-side", "--server-side=false"])
def test_a_manifest_without_replicas_leaves_the_number_that_was_scaled_to(
    kubectl: Kubectl, rest: Rest, namespace: str, how: str
) -> None:
    def apply(spec: Spec) -> None:
        kubectl("apply", how, f"--namespace={namespace}", "--filename=-", stdin=service(spec))

    apply(spec())
    rest("PATCH", path(namespace, "digits", subresource="scale"), {"spec": {"replicas": 3}}, content_type=MERGE)
    apply(spec(startupTimeout="20m"))
    stored = rest("GET", path(namespace, "digits"))[1]
    assert (stored["spec"]["replicas"], stored["spec"]["startupTimeout"]) == (3, "20m")


@pytest.mark.parametrize("how", ["--server-side", "--server-side=false"])
def test_replicas_taken_out_of_a_manifest_vanish(kubectl: Kubectl, rest: Rest, namespace: str, how: str) -> None:
    """The operator then writes the number that runs."""
    for body in (spec(replicas=3), spec()):
        kubectl("apply", how, f"--namespace={namespace}", "--filename=-", stdin=service(body))
    assert "replicas" not in rest("GET", path(namespace, "digits"))[1]["spec"]


@pytest.mark.parametrize("how", ["--server-side", "--server-side=false"])
def test_applying_the_same_again_changes_nothing(kubectl: Kubectl, rest: Rest, namespace: str, how: str) -> None:
    def apply() -> str:
        body = service(VALID["everything at once"])
        kubectl("apply", how, f"--namespace={namespace}", "--filename=-", stdin=body)
        return rest("GET", path(namespace, "digits"))[1]["metadata"]["generation"]

    assert apply() == apply()


def test_two_managers_share_the_variables(rest: Rest, namespace: str) -> None:
    """env is a list by name: each manager keeps its own entries."""
    for manager, name in (("a", "A"), ("b", "B")):
        body = service(spec(runtime={"env": [{"name": name, "value": "1"}]}))
        address = path(namespace, "digits", query=f"fieldManager={manager}")
        code, answer = rest("PATCH", address, body, content_type=APPLY)
    assert code == 200
    assert [variable["name"] for variable in answer["spec"]["runtime"]["env"]] == ["A", "B"]
