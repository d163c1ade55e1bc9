"""Plays the kubelet for hundreds of pods: whatever the scheduler puts on the node fetches its model and serves.

`controlplane/kubelet.py` does the same for a handful, with states that a test chooses.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError

from controlplane.kubelet import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from faults.admin import Admin

GPU = "nvidia.com/gpu"
_NODE = "n1"
_NODES = "/api/v1/nodes"
_BEAT_SECONDS = 8.0
_SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@asynccontextmanager
async def served(admin: Admin) -> AsyncIterator[None]:
    """Add the node and keep its pods up while the block runs."""
    await admin.create(_NODES, {"metadata": {"name": _NODE, "labels": {"kubernetes.io/os": "linux"}}})
    await _beat(admin)
    tasks = [asyncio.create_task(_tend(admin)), asyncio.create_task(_live(admin))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _live(admin: Admin) -> None:
    """Beat: the controller manager gives up a node that it has not heard of for 50 seconds."""
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        await _quietly(_beat(admin))


async def _beat(admin: Admin) -> None:
    amount = {"cpu": "4000", "memory": "4000Gi", "pods": "4000", GPU: "4000"}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
    status = {"capacity": amount, "allocatable": amount, "conditions": [ready]}
    await admin.merge(f"{_NODES}/{_NODE}/status", {"status": status})


async def _tend(admin: Admin) -> None:
    told: set[str] = set()
    state = serving()
    state["conditions"] = [_SCHEDULED, *state["conditions"]]
    async with asyncio.TaskGroup() as turns:
        while True:
            async for pod in admin.follow("/api/v1/pods", fieldSelector=f"spec.nodeName={_NODE}"):
                metadata = pod["metadata"]
                path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
                if "deletionTimestamp" in metadata:
                    turns.create_task(_quietly(admin.delete(path, gracePeriodSeconds=0)))
                elif metadata["uid"] not in told:
                    turns.create_task(_quietly(admin.merge(f"{path}/status", {"status": state})))
                    told.add(metadata["uid"])


async def _quietly(doing: Any) -> None:  # noqa: ANN401 (any awaitable)
    # A pod may be gone by the time its turn comes, and a busy API server late with an answer.
    with suppress(AssertionError, ClientError, TimeoutError):
        await doing
