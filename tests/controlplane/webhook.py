"""An admission webhook as large clusters have one: it has every image come from a registry of their own."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import threading
from typing import TYPE_CHECKING, Any

from cluster.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Object = dict[str, Any]

MIRROR = "mirror.example.com/"


@contextlib.contextmanager
def mirrored(kubectl: Callable[..., str], directory: Path, namespace: str) -> Iterator[None]:
    """Rewrite the images of what is written in the namespace while the block runs."""
    authority = Authority.create(directory / "webhook")
    authority.issue("webhook", "/CN=webhook", ["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.folder / "webhook.crt", authority.folder / "webhook.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, name="webhook")
        thread.start()
        configuration = _configuration(server.server_port, authority.certificate.read_bytes(), namespace)
        kubectl("create", "-f", "-", stdin=configuration)
        try:
            yield
        finally:
            kubectl("delete", configuration["kind"], configuration["metadata"]["name"])
            server.shutdown()
            thread.join()


def _configuration(port: int, authority: bytes, namespace: str) -> Object:
    rule = {"apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "mirror.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/",
                    "caBundle": base64.b64encode(authority).decode(),
                },
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [
                    rule | {"apiGroups": ["apps"], "resources": ["deployments"]},
                    rule | {"apiGroups": [""], "resources": ["pods"]},
                ],
            }
        ],
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        patch = base64.b64encode(json.dumps(list(_patches(request["object"]))).encode()).decode()
        allowed = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": allowed}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        """Say nothing."""


def _patches(body: Object) -> Iterator[Object]:
    path, pod = (
        ("/spec", body["spec"]) if body["kind"] == "Pod" else ("/spec/template/spec", body["spec"]["template"]["spec"])
    )
    for kind in ("initContainers", "containers"):
        for number, container in enumerate(pod.get(kind) or ()):
            if not container["image"].startswith(MIRROR):
                image = MIRROR + container["image"]
                yield {"op": "replace", "path": f"{path}/{kind}/{number}/image", "value": image}
