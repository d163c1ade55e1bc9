"""A model that only those with a token may ask, over TLS, and that explains its answers.

Its Secrets come late, and change under its pods.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from cluster.pki import Authority
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.kubectl import Kubectl, Object
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

_ASK = """
import json, ssl, sys, urllib.error, urllib.request as u
asked = json.load(sys.stdin)
context = ssl.create_default_context(cadata=asked["authority"])
data = json.dumps(asked["body"]).encode() if asked["body"] else None
request = u.Request(asked["url"], data, {"authorization": "Bearer " + asked["token"]})
try:
    answer = u.urlopen(request, timeout=15, context=context)
except urllib.error.HTTPError as refusal:
    answer = refusal
print(json.dumps([answer.status, answer.read().decode()]))
"""


def _secret(name: str, kind: str = "Opaque", **values: str) -> Object:
    data = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data}


def test_secrets_may_come_late_and_change_without_new_pods(
    services: Callable[[str], ModelService], perceptron: Model, client: Client, kubectl: Kubectl, tmp_path: Path
) -> None:
    authority = Authority.create(tmp_path / "pki")
    authority.issue("secured", "/CN=secured", ["secured.e2e.svc"])
    service = services("secured")
    service.apply(
        model={"uri": perceptron.uri},
        explain={"methods": ["IntegratedGradients"]},
        security={"auth": {"tokensSecretRef": {"name": "tokens"}}, "tls": {"secretRef": {"name": "certificate"}}},
    )
    missing = service.until("Ready", "False", "ConfigMissing")
    assert "Does the Secret of spec.security.auth.tokensSecretRef exist?" in missing["message"]

    certificate, key = (authority.folder / f"secured.{kind}" for kind in ("crt", "key"))
    pair = {"tls_crt": certificate.read_text(), "tls_key": key.read_text()}
    kubectl.apply(_secret("tokens", a="old"), _secret("certificate", "kubernetes.io/tls", **pair))
    service.until_ready(1)
    url = service.get()["status"]["url"]
    assert url == "https://secured.e2e.svc:8080"

    def ask(token: str, path: str, body: Object | None = None) -> tuple[int, str]:
        asked = {"url": url + path, "token": token, "authority": authority.certificate.read_text(), "body": body}
        status, text = json.loads(client.run("python3", "-c", _ASK, given=json.dumps(asked)))
        return status, text

    def status(token: str, path: str = "/v2/models/secured") -> int:
        return ask(token, path)[0]

    assert [status("old"), status("new"), status("new", "/v2/health/ready")] == [200, 401, 200]

    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 10], "data": perceptron.inputs[0]}
    question = {"inputs": [tensor], "parameters": {"target": 3}}
    assert ask("new", "/v2/models/secured/explain", question)[0] == 401
    code, text = ask("old", "/v2/models/secured/explain", question)
    explained = {each["name"]: each["data"] for each in json.loads(text)["outputs"]}
    assert code == 200
    assert len(explained["x"]) == 10
    assert any(explained["x"])

    pods = service.pods()
    (before,) = kubectl.get("pod", *pods)["status"]["containerStatuses"]
    kubectl.apply(_secret("tokens", b="new"))
    kubectl("annotate", "pod", *pods, "tests/look=again")  # the kubelet looks at a pod that changes, else once a minute
    until(lambda: [status("old"), status("new")] == [401, 200], "the new token is valid and the old one is not")
    assert service.pods() == pods
    (after,) = kubectl.get("pod", *pods)["status"]["containerStatuses"]
    assert after["restartCount"] == before["restartCount"]
