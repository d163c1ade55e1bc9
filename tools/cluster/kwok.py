"""Nodes that are not there: kwok plays their kubelets, and in their pods servers that take their time to load.

A pod runs as soon as it is bound, its server is ready after the pod's load time, and a deleted pod holds its place
until its drain time is over. Both are annotations of the pod, under the names that kwok's own stages have for them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOAD_TIME = "pod-ready.stage.kwok.x-k8s.io/delay"
DRAIN_TIME = "pod-delete.stage.kwok.x-k8s.io/delay"

_STAGES = Path(__file__).with_suffix(".yaml")
_LEASE_SECONDS = 10  # with 4, renewals come into conflict on a busy machine


def command(program: Path, kubeconfig: Path) -> list[str]:
    """Return kwok's command line; it listens nowhere."""
    return [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--config={_STAGES}",
        "--manage-all-nodes",
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
        "--node-ip=127.0.0.1",
        "--node-port=0",
        "--cidr=10.64.0.0/12",
    ]


def node(name: str, devices: Mapping[str, str], labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a node with so many of each device, such as {"nvidia.com/gpu": "8"}."""
    has = {"cpu": "64", "memory": "512Gi", "pods": "200", **devices}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | dict(labels or {})},
        "status": {"capacity": has, "allocatable": has},
    }
