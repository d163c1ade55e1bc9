"""Plays the kubelet of a node that is not there: what is bound to it gets the state that the test chooses.

Scheduler, controllers and API server are real; only what happens inside a pod is told, by writing pod status as the
kubelet does. Real pods are the business of tests/e2e.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from cluster.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

State = dict[str, Any]
DIGEST = "sha256:" + "1" * 64
_TURN_SECONDS = 0.1
_BEAT_SECONDS = 8.0


def serving(digest: str = DIGEST) -> State:
    """Say that the model was fetched and that the server is ready."""
    report = json.dumps({"digest": digest, "files": 2, "bytes": 1024})
    return {
        "phase": "Running",
        "conditions": [_condition(kind, "True") for kind in ("Initialized", "ContainersReady", "Ready")],
        "initContainerStatuses": [_container("fetch", {"terminated": {"exitCode": 0, "message": report}})],
        "containerStatuses": [_container("server", {"running": {}}, ready=True)],
    }


def crashing(message: str) -> State:
    """Say that the server exits again and again with these last words."""
    ended = {"exitCode": 1, "reason": "Error", "message": message}
    return {
        "phase": "Running",
        "conditions": [_condition("Ready", "False")],
        "initContainerStatuses": [_container("fetch", {"terminated": {"exitCode": 0}})],
        "containerStatuses": [
            _container("server", {"waiting": {"reason": "CrashLoopBackOff"}}, last={"terminated": ended})
        ],
    }


def ended(message: str, exit_code: int = 0) -> State:
    """Say that the only container of a pod has ended with these last words."""
    ending = {"terminated": {"exitCode": exit_code, "message": message}}
    return {
        "phase": "Failed" if exit_code else "Succeeded",
        "conditions": [_condition("Ready", "False")],
        "containerStatuses": [_container("evaluate", ending)],
    }


class Logs(http.server.ThreadingHTTPServer):
    """Where the API server asks a kubelet for logs: every container has written the same, or nobody can tell."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Log)
        authority = Authority.create(directory)
        authority.issue("kubelet", "/CN=kubelet", ["127.0.0.1"])
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(directory / "kubelet.crt", directory / "kubelet.key")
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.written: bytes | None = None
        self.asked: list[str] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[Logs]:
        """Answer while the block runs."""
        with self:
            thread = threading.Thread(target=self.serve_forever, name="logs")
            thread.start()
            try:
                yield self
            finally:
                self.shutdown()
                thread.join()


class _Log(http.server.BaseHTTPRequestHandler):
    server: Logs

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = b"no such log" if self.server.written is None else self.server.written
        self.send_response(500 if self.server.written is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Addresses(Protocol):
    """Gives addresses to pods."""

    def of(self, pod: str) -> str:
        """Return the address of a pod, which it keeps."""

    def gives_back(self, pod: str) -> None:
        """Take that of a pod that has ended."""


class Kubelet:
    """A node of the test's own, and a thread that tells what its pods do."""

    def __init__(self, kubeconfig: Path, node: str, **capacity: str) -> None:
        self._core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        self._node, self._capacity = node, {"cpu": "64", "memory": "64Gi", "pods": "200"} | capacity
        self.log_port = 0
        """Where it is asked for logs; 0: nowhere. Set before it runs."""
        self._stop = threading.Event()
        self._told: dict[str, State] = {}
        self._beaten = 0.0
        self.state_of: Callable[[dict[str, str]], State | None] = lambda labels: serving()  # noqa: ARG005
        self.addresses: Addresses | None = None
        """Addresses of the pods' own; None: they have none, but for what their state says."""

    @contextlib.contextmanager
    def running(self) -> Iterator[Kubelet]:
        """Add the node, keep its pods up, and take the node away at the end."""
        self._core.create_node({"metadata": {"name": self._node}})
        self._beat()
        thread = threading.Thread(target=self._run, name=f"kubelet {self._node}")
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            self._core.delete_node(self._node)

    def _beat(self) -> None:
        """Say that the node lives: the controller manager gives up one that it has not heard of for 50 seconds."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
        status = {"capacity": self._capacity, "allocatable": self._capacity, "conditions": [ready]}
        if self.log_port:
            status["addresses"] = [{"type": "InternalIP", "address": "127.0.0.1"}]
            status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self.log_port}}
        self._core.patch_node_status(self._node, {"status": status})
        self._beaten = time.monotonic()

    def _run(self) -> None:
        while not self._stop.wait(_TURN_SECONDS):
            # A busy API server may be late with an answer; the next turn is soon.
            with contextlib.suppress(ApiException, HTTPError):
                self._turn()

    def _turn(self) -> None:
        if time.monotonic() - self._beaten > _BEAT_SECONDS:
            self._beat()
        for pod in self._core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={self._node}").items:
            with contextlib.suppress(ApiException):  # it may be gone by the time its turn comes
                self._tend(pod)

    def _tend(self, pod: Any) -> None:  # noqa: ANN401 - the client's generated type
        name, namespace = pod.metadata.name, pod.metadata.namespace
        if pod.metadata.deletion_timestamp is not None:
            self._core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
            if self.addresses is not None:
                self.addresses.gives_back(name)
            return
        state = self.state_of(pod.metadata.labels or {})
        if state is not None and self.addresses is not None:
            address = self.addresses.of(name)
            state = state | {"podIP": address, "podIPs": [{"ip": address}]}
        if state is not None and self._told.get(pod.metadata.uid) != state:
            self._core.patch_namespaced_pod_status(name, namespace, {"status": state})
            self._told[pod.metadata.uid] = state


def _condition(kind: str, status: str) -> State:
    return {"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}


def _container(name: str, state: State, *, ready: bool = False, last: State | None = None) -> State:
    return {
        "name": name,
        "image": "x",
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": 1 if last else 0,
        "state": state,
        "lastState": last or {},
    }
