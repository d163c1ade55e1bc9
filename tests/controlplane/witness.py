"""A witness of a control plane: every version that pods, Services and ModelServices have had, in etcd's order.

A watch loses nothing, and resource versions order what came from different ones. So what must hold at every moment of a
rollout is asked of every moment, not of those that a poll happens to see.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cluster.access import Access
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from controlplane.services import Services

Object = dict[str, Any]

_PATHS = ("/api/v1/pods", "/api/v1/services", "/apis/modelservice.dev/v1alpha1/modelservices")


@dataclass(frozen=True)
class Change:
    """One version of one object; of one that is gone the last."""

    version: int
    body: Object
    is_gone: bool
    time: float
    """When it was seen, as time.monotonic tells it."""


@dataclass(frozen=True)
class Moment:
    """What was true between two changes of a namespace with one ModelService."""

    version: int
    wanted: int | None  # replicas of the spec
    serving: int  # pods that are ready, not on their way out, and selected by the Service
    asked: int  # pods that are there and not on their way out
    pods: tuple[Object, ...]


class Witness:
    """Watches all namespaces from its beginning to its end."""

    def __init__(self, kubeconfig: Path) -> None:
        self._access = Access.read(kubeconfig)
        self._changes: dict[str, list[Change]] = defaultdict(list)
        self._latest: dict[tuple[str, str, str], Object] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def watching(self) -> Iterator[Witness]:
        with contextlib.ExitStack() as stack:
            for path in _PATHS:
                stack.enter_context(self._watch(path))
            yield self

    def latest(self, kind: str, namespace: str, name: str) -> Object:
        """Return the latest version of an object, empty if it is not there."""
        with self._lock:
            return self._latest.get((kind, namespace, name), {})

    def all(self, kind: str, namespace: str) -> list[Object]:
        """Return the latest version of each object of a kind."""
        with self._lock:
            return [body for (what, where, _), body in self._latest.items() if (what, where) == (kind, namespace)]

    def changes(self, namespace: str, kind: str) -> list[Change]:
        with self._lock:
            found = [each for each in self._changes[namespace] if each.body["kind"] == kind]
        return sorted(found, key=lambda each: each.version)

    def moments(self, namespace: str, service: str) -> Iterator[Moment]:
        """Return what was true after each change, from the first one."""
        with self._lock:
            changes = sorted(self._changes[namespace], key=lambda each: each.version)
        pods: dict[str, Object] = {}
        selector: dict[str, str] | None = None
        wanted: int | None = None
        for change in changes:
            body = change.body
            if body["kind"] == "ModelService" and body["metadata"]["name"] == service:
                wanted = body["spec"].get("replicas")
            elif body["kind"] == "Service" and body["metadata"]["name"] == service:
                selector = None if change.is_gone else body["spec"]["selector"]
            elif body["kind"] == "Pod":
                pods[body["metadata"]["uid"]] = body
                if change.is_gone:
                    del pods[body["metadata"]["uid"]]
            stay = [pod for pod in pods.values() if not pod["metadata"].get("deletionTimestamp")]
            serving = [pod for pod in stay if is_true(pod, "Ready") and _selects(selector, pod)]
            yield Moment(change.version, wanted, len(serving), len(stay), tuple(pods.values()))

    def moments_since(self, version: int, services: Services) -> list[Moment]:
        """Return what was true after each change since a version, with all that has changed by now."""

        def has_seen_all() -> bool:
            told = [each for kind in ("Pod", "Service", "ModelService") for each in self.all(kind, services.namespace)]
            there = services.all("pods,services,modelservices")
            return {*map(_version, told)} == {*map(_version, there)}

        until(has_seen_all, "the witness has seen everything")
        found = [each for each in self.moments(services.namespace, "m") if each.version > version]
        assert found
        return found

    # -- parts

    @contextlib.contextmanager
    def _watch(self, path: str) -> Iterator[None]:
        with self._get(path) as (_, answer):
            listed = json.load(answer)
        kind = listed["kind"].removesuffix("List")
        for body in listed["items"]:
            self._note(body | {"kind": kind})
        with self._get(f"{path}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}") as (sock, answer):
            thread = threading.Thread(target=self._read, args=(answer,), name=f"watch of {path}")
            thread.start()
            try:
                yield
            finally:
                sock.shutdown(socket.SHUT_RDWR)
                thread.join()

    @contextlib.contextmanager
    def _get(self, path: str) -> Iterator[tuple[socket.socket, http.client.HTTPResponse]]:
        address = urlsplit(self._access.url)
        trust = ssl.create_default_context(cadata=self._access.authority)
        connection = http.client.HTTPSConnection(str(address.hostname), address.port, context=trust)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._access.token}"})
            sock, answer = connection.sock, connection.getresponse()
            assert answer.status == http.client.OK, answer.read()
            yield sock, answer

    def _read(self, answer: http.client.HTTPResponse) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):  # the end of the watch
            while line := answer.readline():
                event = json.loads(line)
                self._note(event["object"], is_gone=event["type"] == "DELETED")

    def _note(self, body: Object, *, is_gone: bool = False) -> None:
        about = body["metadata"]
        key = (body["kind"], about["namespace"], about["name"])
        with self._lock:
            change = Change(_version(body), body, is_gone, time.monotonic())
            self._changes[about["namespace"]].append(change)
            self._latest[key] = body
            if is_gone:
                del self._latest[key]


def is_true(body: Object, kind: str) -> bool:
    """Tell whether a condition of an object holds."""
    return (condition(body, kind) or {}).get("status") == "True"


def condition(body: Object, kind: str) -> Object | None:
    """Return a condition of an object, if it has it."""
    found = (each for each in (body.get("status") or {}).get("conditions") or () if each["type"] == kind)
    return next(found, None)


def _version(body: Object) -> int:
    return int(body["metadata"]["resourceVersion"])


def _selects(selector: dict[str, str] | None, pod: Object) -> bool:
    return selector is not None and selector.items() <= (pod["metadata"].get("labels") or {}).items()
