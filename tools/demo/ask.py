"""One request in the Open Inference Protocol (V2), through the Service."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from cluster import waiting
from demo.kubectl import Kubectl, Manifest

_TIMEOUT_SECONDS = 10.0
Post = Callable[[str, str], str]


def scores(post: Post, model: str, pixels: Sequence[int]) -> list[float]:
    """Ask the model about one digit and return its ten scores."""
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(pixels)], "data": list(pixels)}]}
    answered: dict[str, Any] = json.loads(post(f"/v2/models/{model}/infer", json.dumps(request)))
    (output,) = answered["outputs"]
    return [float(score) for score in output["data"]]


def directly(service: Manifest) -> Post:
    """Post to the Service's own address, which a host can reach whose routes lead into the cluster."""
    address = f"http://{service['spec']['clusterIP']}:{_port(service)}"

    def post(path: str, body: str) -> str:
        request = urllib.request.Request(address + path, body.encode(), {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  (http, as written above)
            return str(answer.read(), "utf-8")

    def reaches() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/v2", timeout=_TIMEOUT_SECONDS):  # noqa: S310
                return True
        except urllib.error.URLError:
            return False  # a new address takes the node a moment to learn

    waiting.until(reaches, f"{address} does not answer from this machine", seconds=20)
    return post


def through_the_api_server(kubectl: Kubectl, service: Manifest) -> Post:
    """Post by way of the API server's proxy, which every cluster has."""
    meta = service["metadata"]
    place = f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}:{_port(service)}/proxy"

    def post(path: str, body: str) -> str:
        return kubectl("create", "--raw", place + path, "--filename=-", given=body)

    return post


def _port(service: Manifest) -> int:
    return next(int(port["port"]) for port in service["spec"]["ports"] if port["name"] == "http")
