"""Plays the kubelet for hundreds of pods: whatever the scheduler puts on a node comes to what outcomes.py says.

`controlplane/kubelet.py` does the same for a handful, with states that a test chooses.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError

from faults.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from faults.admin import Admin

GPU = "nvidia.com/gpu"
NODES = "/api/v1/nodes"
_BEAT_SECONDS = 8.0


@asynccontextmanager
async def served(admin: Admin) -> AsyncIterator[None]:
    """Add a node with room for all, and keep the pods of every node up while the block runs."""
    await add_node(admin, "n1", pods=4000)
    tasks = [asyncio.create_task(_tend(admin)), asyncio.create_task(_live(admin))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def add_node(admin: Admin, name: str, *, pods: int) -> None:
    """Add a node that takes so many pods."""
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    await admin.create(NODES, {"metadata": {"name": name, "labels": labels}})
    await resize_node(admin, name, pods=pods)
    await _beat(admin, name)


async def resize_node(admin: Admin, name: str, *, pods: int) -> None:
    """Let a node take so many pods from now on; those that it has stay."""
    amount = {"cpu": "4000", "memory": "4000Gi", "pods": str(pods), GPU: "4000"}
    await admin.merge(f"{NODES}/{name}/status", {"status": {"capacity": amount, "allocatable": amount}})


async def _live(admin: Admin) -> None:
    """Beat: the controller manager gives up a node that it has not heard of for 50 seconds."""
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        await _quietly(_beat_all(admin))


async def _beat_all(admin: Admin) -> None:
    for node in await admin.items(NODES):
        await _quietly(_beat(admin, node["metadata"]["name"]))


async def _beat(admin: Admin, name: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
    await admin.merge(f"{NODES}/{name}/status", {"status": {"conditions": [ready]}})


async def _tend(admin: Admin) -> None:
    told: set[str] = set()
    outcomes = Outcomes()
    async with asyncio.TaskGroup() as turns:
        while True:
            async for pod in admin.follow("/api/v1/pods", fieldSelector="spec.nodeName!="):
                metadata = pod["metadata"]
                path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
                if "deletionTimestamp" in metadata:
                    turns.create_task(_quietly(admin.delete(path, gracePeriodSeconds=0)))
                elif metadata["uid"] not in told:
                    turns.create_task(_quietly(admin.merge(f"{path}/status", {"status": outcomes.of(pod)})))
                    told.add(metadata["uid"])


async def _quietly(doing: Any) -> None:  # noqa: ANN401 (any awaitable)
    # A pod may be gone by the time its turn comes, and a busy API server late with an answer.
    with suppress(AssertionError, ClientError, TimeoutError):
        await doing
