"""One request in the Open Inference Protocol (V2), through a Service."""

import json
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from cluster import waiting
from demo.kubectl import Manifest

_TIMEOUT_SECONDS = 10.0
Post = Callable[[str, str], str]


def scores(post: Post, model: str, pixels: Sequence[int]) -> list[float]:
    """Ask the model about one digit and return its ten scores."""
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(pixels)], "data": list(pixels)}]}
    answered: dict[str, Any] = json.loads(post(f"/v2/models/{model}/infer", json.dumps(request)))
    (output,) = answered["outputs"]
    return [float(score) for score in output["data"]]


def at(address: str) -> Post:
    """Post to an address that this machine can reach."""

    def post(path: str, body: str) -> str:
        request = urllib.request.Request(address + path, body.encode(), {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  (http, as written above)
            return str(answer.read(), "utf-8")

    def reaches() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/v2", timeout=_TIMEOUT_SECONDS):  # noqa: S310
                return True
        except OSError:
            return False  # a new address takes the node a moment to learn

    waiting.until(reaches, f"{address} does not answer from this machine", seconds=20)
    return post


def node_port(service: Manifest, number: int) -> Manifest:
    """Return a Service that leads from a port of every node to the same pods."""
    (port,) = (each for each in service["spec"]["ports"] if each["name"] == "http")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{service['metadata']['name']}-outside", "namespace": service["metadata"]["namespace"]},
        "spec": {
            "type": "NodePort",
            "selector": service["spec"]["selector"],
            "ports": [{"name": "http", "port": port["port"], "targetPort": port["targetPort"], "nodePort": number}],
        },
    }


def port(service: Manifest) -> int:
    """Return the port on which a model's Service answers."""
    return next(int(each["port"]) for each in service["spec"]["ports"] if each["name"] == "http")
