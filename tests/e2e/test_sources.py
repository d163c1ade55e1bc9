"""Where models come from: a source that comes late, and one that changes behind a service's back."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from cluster.pki import Authority
from e2e import client as clients
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.kubectl import Kubectl, Object
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

HOST = "artefacts.e2e.svc"
_SERVER = """
import functools, http.server, ssl
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/models")
server = http.server.ThreadingHTTPServer(("", 8443), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def test_a_pod_whose_source_has_changed_is_refused_and_the_others_serve_on(
    services: Callable[[str], ModelService], perceptron: Model, client: Client, kubectl: Kubectl
) -> None:
    source = f"{clients.MODELS}/changing"
    client.run("cp", "--recursive", f"{clients.MODELS}/nlp-model", source)
    service = services("changing")
    service.apply(model={"uri": "pvc://models/changing"}, replicas=2)
    service.until_ready(2)
    victim, survivor = service.pods()
    client.run("sh", "-c", f"echo >> {source}/model.json")  # as good a model, but not the one that was let in
    kubectl("delete", "pod", victim)

    def refusal() -> Object:
        (successor,) = {*service.pods()} - {survivor}
        (fetch,) = kubectl.get("pod", successor)["status"]["initContainerStatuses"]
        ended = fetch["state"].get("terminated") or fetch["lastState"]["terminated"]
        return dict(json.loads(ended["message"]))

    refused = until(refusal, "the new pod is refused")
    assert refused["reason"] == "DigestMismatch"
    assert perceptron.digest in refused["message"]
    assert client.infer("changing", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
    assert service.condition("Available")["status"] == "True"


def test_a_model_comes_over_https_as_soon_as_its_server_is_there(
    services: Callable[[str], ModelService], perceptron: Model, client: Client, kubectl: Kubectl, tmp_path: Path
) -> None:
    authority = Authority.create(tmp_path / "pki")
    authority.issue("server", "/CN=server", [HOST])
    certificates = {"ca.crt": authority.certificate.read_text()}
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "our-ca"}, "data": certificates})
    service = services("remote")
    service.apply(model={"uri": perceptron.uri})
    service.until_ready(1)
    revision = service.stable

    url = f"https://{HOST}:8443/perceptron.tar.gz"
    service.apply(model={"uri": url, "caConfigMapRef": {"name": "our-ca"}})
    ready = service.until("Ready", "False", "FetchFailed")
    assert url in ready["message"]
    assert service.stable == revision
    assert client.infer("remote", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)

    client.run("sh", "-c", f"cd {clients.MODELS} && python3 -m tarfile --create perceptron.tar.gz nlp-model")
    _serve(kubectl, authority.folder / "server.crt", authority.folder / "server.key")
    service.until_ready(1)
    assert service.stable != revision
    assert client.infer("remote", perceptron.inputs)[0] == pytest.approx(perceptron.outputs[0], abs=1e-5)
    assert service.get()["status"]["revisions"][0]["model"] == f"{url}@{perceptron.digest}"


def _serve(kubectl: Kubectl, certificate: Path, key: Path) -> None:
    """Serve the claim over TLS."""
    files = {"tls.crt": certificate, "tls.key": key}
    data = {name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items()}
    ports = [{"port": 8443}]
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "type": "kubernetes.io/tls", "data": data},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "artefacts"},
            "spec": {"selector": {"app": "artefacts"}, "ports": ports},
        },
        clients.pod(
            "artefacts",
            ["python3", "-c", _SERVER],
            {"models": {"persistentVolumeClaim": {"claimName": "models"}}, "tls": {"secret": {"secretName": "tls"}}},
        ),
    )
