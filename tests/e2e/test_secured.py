"""A model that only those with a token may ask, over TLS: from Secrets that come late, and change under its pods."""

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
request = u.Request(asked["url"], headers={"authorization": "Bearer " + asked["token"]})
try:
    print(u.urlopen(request, timeout=15, context=context).status)
except urllib.error.HTTPError as refusal:
    print(refusal.code)
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

    def status(token: str, path: str = "/v2/models/secured") -> int:
        asked = {"url": url + path, "token": token, "authority": authority.certificate.read_text()}
        return int(client.run("python3", "-c", _ASK, given=json.dumps(asked)))

    assert [status("old"), status("new"), status("new", "/v2/health/ready")] == [200, 401, 200]
    pods = service.pods()
    (before,) = kubectl.get("pod", *pods)["status"]["containerStatuses"]
    kubectl.apply(_secret("tokens", b="new"))
    kubectl("annotate", "pod", *pods, "tests/look=again")  # the kubelet looks at a pod that changes, else once a minute
    until(lambda: [status("old"), status("new")] == [401, 200], "the new token is valid and the old one is not")
    assert service.pods() == pods
    (after,) = kubectl.get("pod", *pods)["status"]["containerStatuses"]
    assert after["restartCount"] == before["restartCount"]
