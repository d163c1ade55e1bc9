"""An adapter of metrics: the custom and the external metrics API, aggregated into a control plane, told what to say."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import ssl
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from kubernetes import client, config

from cluster.pki import Authority
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Object = dict[str, Any]

CUSTOM: Final = "v1beta2.custom.metrics.k8s.io"
EXTERNAL: Final = "v1beta1.external.metrics.k8s.io"
NAMESPACE: Final = "metrics"
_KINDS: Final = {CUSTOM: ("pods/inflight", "MetricValueList"), EXTERNAL: ("inflight", "ExternalMetricValueList")}
_PATH = re.compile(r"/apis/([^/]+)/([^/]+)(?:/namespaces/([^/]+)(/pods/\*)?/([^/]+))?")


def aggregation(directory: Path) -> tuple[str, ...]:
    """Return the flags by which an API server passes requests on to other servers."""
    authority = Authority.create(directory)
    authority.issue("client", "/CN=front-proxy-client")
    return (
        f"--requestheader-client-ca-file={authority.certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={directory / 'client.crt'}",
        f"--proxy-client-key-file={directory / 'client.key'}",
    )


class MetricsApi:
    """What it says: all requests without an answer of any service, spread evenly over the pods that are ready."""

    def __init__(self, kubectl: Callable[..., str], kubeconfig: Path, port: int) -> None:
        self.inflight = 0.0
        self.is_silent = False
        """Whether no pod tells it anything."""
        self.asked: list[tuple[float, float]] = []
        """When it was asked (time.monotonic), and what it said."""
        self._kubectl, self._port = kubectl, port
        self._core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))

    def register(self, name: str) -> None:
        """Have the API server pass an API on to this one."""
        register(self._kubectl, name, self._port)

    def unregister(self, name: str) -> None:
        """Have the API server forget an API."""
        self._kubectl("delete", "apiservice", name)

    def answer(self, path: str, query: dict[str, list[str]]) -> Object | None:
        """Answer a request; None: there is no such thing."""
        if (asked := _PATH.fullmatch(path)) is None or (name := f"{asked[2]}.{asked[1]}") not in _KINDS:
            return None
        version = f"{asked[1]}/{asked[2]}"
        resource, kind = _KINDS[name]
        if asked[5] is None:
            found = {"name": resource, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [found]}
        self.asked.append((time.monotonic(), self.inflight))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items: list[Object] = [{"metricName": asked[5], "metricLabels": {}, "value": _quantity(self.inflight)}]
        if asked[4] is not None:
            ready = [] if self.is_silent else self._ready(asked[3], query["labelSelector"][0])
            items = [
                {
                    "describedObject": {"kind": "Pod", "namespace": asked[3], "name": pod, "apiVersion": "/v1"},
                    "metric": {"name": asked[5]},
                    "value": _quantity(self.inflight / len(ready)),
                }
                for pod in ready
            ]
        return {"kind": kind, "apiVersion": version, "metadata": {}, "items": [{"timestamp": now} | it for it in items]}

    def _ready(self, namespace: str, selector: str) -> list[str]:
        pods = self._core.list_namespaced_pod(namespace, label_selector=selector).items
        return [
            pod.metadata.name
            for pod in pods
            if any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ())
        ]


@contextlib.contextmanager
def served(
    kubectl: Callable[..., str], kubeconfig: Path, directory: Path, names: Iterable[str] = (CUSTOM, EXTERNAL)
) -> Iterator[MetricsApi]:
    """Serve these APIs while the block runs."""
    authority = Authority.create(directory)
    authority.issue("metrics", "/CN=metrics", ["127.0.0.1", "localhost"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "metrics.crt", directory / "metrics.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        _Handler.api = api = MetricsApi(kubectl, kubeconfig, server.server_port)
        thread = threading.Thread(target=server.serve_forever, name="metrics")
        thread.start()
        try:
            for name in names:
                api.register(name)
            yield api
        finally:
            server.shutdown()
            thread.join()


def register(kubectl: Callable[..., str], name: str, port: int) -> None:
    """Have the API server pass an API on to a port of this machine, and wait until it does."""
    version, _, group = name.partition(".")
    objects: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"at-{port}", "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": name},
            "spec": {
                "group": group,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"namespace": NAMESPACE, "name": f"at-{port}", "port": port},
            },
        },
    ]
    kubectl("apply", "--server-side", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": objects})
    until(
        lambda: kubectl("wait", "--for=condition=Available", f"apiservice/{name}", "--timeout=5s"), f"{name} is served"
    )


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: MetricsApi

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        answer = self.api.answer(unquote(asked.path), parse_qs(asked.query))
        body = json.dumps(answer or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        """Say nothing."""


def _quantity(number: float) -> str:
    return f"{round(1000 * number)}m"
