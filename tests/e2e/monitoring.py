"""Prometheus and Alertmanager beside the node, as the Prometheus Operator configures them from the cluster's objects.

All three are real, and need no image: the Prometheus Operator writes into Secrets and ConfigMaps what the others are to
do, and `follow` does with that what a reloader does in their pods.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.server
import json
import os
import shutil
import subprocess
import threading
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cluster import binaries, pins, ports
from cluster.access import Access
from cluster.definitions import definition
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from e2e.kubectl import Kubectl, Object

NAMESPACE = "monitoring"
NAME = "models"
LABEL = "release=stack"
# Whatever these are, the operator finds them out.
_LABELS, _ROUTE_LABELS = {"matchLabels": dict([LABEL.split("=")])}, {"matchLabels": {"alerts": "models"}}
_HERE = f"--namespace={NAMESPACE}"
_OPTIONS = (
    "--kubelet-service=",
    "--prometheus-config-reloader=example/reloader:1",
    "--feature-gates=StatusForConfigurationResources=true",
)


class Stack:
    """One Prometheus and one Alertmanager object, and the programs that do what these say."""

    def __init__(self, kubectl: Kubectl, kubeconfig: Path, directory: Path) -> None:
        self._kubectl, self._kubeconfig, self._directory = kubectl, kubeconfig, directory
        self._programs = binaries.paths(("prometheus-operator", "prometheus", "promtool", "alertmanager"))
        self._at = [f"127.0.0.1:{port}" for port in ports.free(3)]
        self._prometheus, self._alertmanager = (f"http://{address}" for address in self._at[1:])
        self._followed: dict[str, str] = {}

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """The Prometheus Operator, its definitions, and the two objects."""
        definitions = f"--filename={definition('prometheuses', 'monitoring.coreos.com').parent}"
        self._kubectl("apply", "--server-side", definitions)
        try:
            self._kubectl("wait", "--for=condition=Established", definitions, "--timeout=60s")
            self._kubectl.apply(*self._objects())
            with self._running("prometheus-operator", *_OPTIONS, f"--web.listen-address={self._at[0]}"):
                try:
                    yield
                finally:  # they have finalizers, so it must see them go
                    self._kubectl("delete", "prometheuses,alertmanagers", "--all", _HERE, "--timeout=60s")
        finally:
            self._kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
            self._kubectl("delete", definitions, "--ignore-not-found", "--timeout=60s")

    @contextlib.contextmanager
    def watching(self, history: Iterable[str]) -> Iterator[None]:
        """Prometheus, which remembers a history in OpenMetrics' format, and Alertmanager; both are ready."""
        until(lambda: "" not in self._written().values(), "both are configured", details=self.log)
        self._take_over(self._written())
        (self._directory / "history.txt").write_text("".join(history))
        back_fill = ("tsdb", "create-blocks-from", "openmetrics", "history.txt", "data")
        command = [self._programs["promtool"], *back_fill]
        done = subprocess.run(command, cwd=self._directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with (
            self._running(
                *("alertmanager", "--config.file=alertmanager.yaml", "--storage.path=alerts"),
                *("--cluster.listen-address=", f"--web.listen-address={self._at[2]}"),
            ),
            self._running(
                *("prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=data"),
                *("--web.enable-lifecycle", f"--web.listen-address={self._at[1]}"),
            ),
        ):
            until(
                lambda: all(map(_is_ready, (self._prometheus, self._alertmanager))), "both are ready", details=self.log
            )
            yield

    @contextlib.contextmanager
    def following(self) -> Iterator[str]:
        """Follow once a second; give the address of Prometheus."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(1):
                self.follow()

        thread = threading.Thread(target=follow, name="reloader")
        thread.start()
        try:
            yield self._prometheus
        finally:
            ended.set()
            thread.join()

    def follow(self) -> None:
        """Have what the Prometheus Operator has written since read."""
        written = self._written()
        if written != self._followed:
            self._take_over(written)
            for url in (self._prometheus, self._alertmanager):
                _http("POST", f"{url}/-/reload")

    # -- what they say

    def value(self, query: str) -> float:
        """Return what a query gives, which is one number."""
        found = self._ask("query", query=query)["result"]
        assert len(found) == 1, found
        return float(found[0]["value"][1])

    def rules(self, group: str) -> list[Object]:
        """Return the rules of a group with what became of them; none where there is no such group."""
        groups = {each["name"]: each["rules"] for each in self._ask("rules")["groups"]}
        found: list[Object] = groups.get(group, [])
        return found

    def of(self, namespace: str, service: str) -> set[str]:
        """Return by name what both have, as they run, of a service."""
        groups, own = self._ask("rules")["groups"], {"namespace": namespace, "modelservice": service}
        routes = json.loads(_http("GET", f"{self._alertmanager}/api/v2/status"))["config"]["original"]
        found = {
            "job": f"serviceMonitor/{namespace}/{service}-metrics/0" in self._ask("status/config")["yaml"],
            "targets": any(own.items() <= each["labels"].items() for each in self._ask("targets")["activeTargets"]),
            "rules": any(each["name"].startswith(f"{namespace}/{service}/") for each in groups),
            "alerts": any(own.items() <= each["labels"].items() for each in self._ask("alerts")["alerts"]),
            "route": f"{namespace}/{service}-alerts/" in routes,
        }
        return {name for name, is_there in found.items() if is_there}

    def log(self) -> str:
        """Return what the three have logged."""
        return "\n".join(f"{each.name}:\n{each.read_text()}" for each in sorted(self._directory.glob("*.log")))

    def _ask(self, path: str, **query: str) -> Any:  # noqa: ANN401 - of each question another
        return json.loads(_http("GET", f"{self._prometheus}/api/v1/{path}?{urlencode(query)}"))["data"]

    # -- how they run

    def _objects(self) -> list[Object]:
        """No pods, as there are no images; Prometheus finds its targets from outside of the cluster."""
        access = Access.read(self._kubeconfig)
        (self._directory / "token").write_text(access.token)
        (self._directory / "ca.crt").write_text(access.authority)
        api_server = {
            "host": access.url,
            "authorization": {"credentialsFile": f"{self._directory}/token"},
            "tlsConfig": {"caFile": f"{self._directory}/ca.crt"},
        }
        alertmanagers = [{"static_configs": [{"targets": [self._at[2]]}]}]
        at = {"name": NAME, "namespace": NAMESPACE}
        prometheus = {
            "replicas": 0,
            "version": f"v{pins.TOOLS['prometheus'].stamps['github.com/prometheus/common/version.Version']}",
            "serviceDiscoveryRole": "EndpointSlice",
            "apiserverConfig": api_server,
            "additionalAlertManagerConfigs": {"name": NAME, "key": "alertmanagers.yaml"},
            "serviceMonitorSelector": _LABELS,
            "serviceMonitorNamespaceSelector": {},
            "ruleSelector": _LABELS,
            "ruleNamespaceSelector": {},
        }
        alertmanager = {
            "replicas": 0,
            "version": pins.ALERTMANAGER,
            "alertmanagerConfigSelector": _ROUTE_LABELS,
            "alertmanagerConfigNamespaceSelector": {},
        }
        api = "monitoring.coreos.com/v1"
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": at,
                "stringData": {"alertmanagers.yaml": json.dumps(alertmanagers)},
            },
            {"apiVersion": api, "kind": "Prometheus", "metadata": at, "spec": prometheus},
            {"apiVersion": api, "kind": "Alertmanager", "metadata": at, "spec": alertmanager},
        ]

    def _written(self) -> dict[str, str]:
        """Return what the Prometheus Operator has written, as files; one that must be there and is not yet is empty."""
        found = {each["metadata"]["name"]: each for each in self._kubectl.items("secrets,configmaps", _HERE)}
        rules = {
            f"rules/{name}/{file}": text
            for name, each in found.items()
            if name.startswith(f"prometheus-{NAME}-rulefiles-")
            for file, text in (each.get("data") or {}).items()
        }
        config = _unpacked(found, f"prometheus-{NAME}", "prometheus.yaml.gz")
        in_pod = {"/etc/prometheus/": f"{self._directory}/", "$(POD_NAME)": "p-0", "$(SHARD)": "0"}
        for theirs, here in in_pod.items():
            config = config.replace(theirs, here)
        routes = _unpacked(found, f"alertmanager-{NAME}-generated", "alertmanager.yaml.gz")
        return {"prometheus.yaml": config, "alertmanager.yaml": routes} | rules

    def _take_over(self, written: dict[str, str]) -> None:
        shutil.rmtree(self._directory / "rules", ignore_errors=True)
        for name, text in written.items():
            file = self._directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self._followed = written

    @contextlib.contextmanager
    def _running(self, program: str, *options: str) -> Iterator[None]:
        environment = os.environ | {"KUBECONFIG": str(self._kubeconfig)}
        with (self._directory / f"{program}.log").open("wb") as output:
            command = [self._programs[program], *options]
            process = subprocess.Popen(
                command, cwd=self._directory, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def _unpacked(found: dict[str, Object], name: str, key: str) -> str:
    data = found.get(name, {}).get("data") or {}
    return gzip.decompress(base64.b64decode(data[key])).decode() if key in data else ""


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(_http("GET", f"{url}/-/ready"))
    return False


def _http(method: str, url: str) -> bytes:
    request = urllib.request.Request(url, method=method)  # noqa: S310 (an address of our own)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (as above)
        content: bytes = answer.read()
    return content


class Hook:
    """Takes what Alertmanager tells, and keeps it by the path at which it came."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.told: dict[str, list[Object]] = {}

    def alerts(self, path: str) -> list[Object]:
        """Return the alerts that were told at a path, each with the receiver in whose name it came."""
        return [alert | {"receiver": told["receiver"]} for told in self.told.get(path, ()) for alert in told["alerts"]]


@contextlib.contextmanager
def hook() -> Iterator[Hook]:
    """A server for webhooks."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taken.told.setdefault(self.path.removeprefix("/"), []).append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        taken = Hook(server.server_port)
        thread = threading.Thread(target=server.serve_forever, name="hook")
        thread.start()
        try:
            yield taken
        finally:
            server.shutdown()
            thread.join()
