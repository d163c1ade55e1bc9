"""Extended resources that no device stands behind: enough for the scheduler, and so for tests of a full cluster."""

import json
import subprocess
from pathlib import Path

from cluster import binaries
from cluster.errors import ClusterError
from cluster.progress import say


def advertise(kubeconfig: Path, wanted: str) -> None:
    """Let every node claim `DOMAIN/RESOURCE=COUNT`; the kubelet keeps it when it reports its own status."""
    resource, count = read(wanted)
    kubectl = [str(binaries.path("kubectl")), f"--kubeconfig={kubeconfig}"]
    for node in _answer([*kubectl, "get", "nodes", "--output=name"]).split():
        _answer([*kubectl, "patch", node, "--subresource=status", "--type=json", f"--patch={patch(resource, count)}"])
        say(f"{node} claims {count} {resource}")


def read(wanted: str) -> tuple[str, str]:
    """Take `DOMAIN/RESOURCE=COUNT` apart."""
    resource, _, count = wanted.partition("=")
    if "/" not in resource or not count.isdigit():
        raise ClusterError(f'"{wanted}" is not of the form DOMAIN/RESOURCE=COUNT, such as nvidia.com/gpu=4.')
    return resource, count


def patch(resource: str, count: str) -> str:
    """Return the JSON patch of a node's status."""
    key = resource.replace("~", "~0").replace("/", "~1")
    fields = ("capacity", "allocatable")
    return json.dumps([{"op": "add", "path": f"/status/{field}/{key}", "value": count} for field in fields])


def _answer(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed: {ended.stderr.strip()}")
    return ended.stdout
