"""The bare client: sends recorded writes as fast as the API server takes them over some connections, and no more."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from cluster.access import Access
from faults.proxy import FaultProxy, Sent
from lab import NAMESPACE, Lab, name
from subject import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Recording:
    """Every write that the operator sent for so many new services, in order."""

    size: int
    sent: Sequence[Sent]
    etcd_revisions: int

    def of_first(self, size: int) -> list[Sent]:
        """Return the requests about the first services only."""
        end = name(size)
        return [each for each in self.sent if each.path.split(f"/{NAMESPACE}/")[1].split("/")[1] < end]

    def revisions(self, size: int) -> int:
        """Return roughly how many revisions of etcd it takes to store what so many services need, and not more."""
        return int(self.etcd_revisions / self.size * size * 0.98)


async def record(here: Lab, size: int) -> Recording:
    """Let the operator work through a proxy that notes what it sends."""
    await here.fresh(size)
    through = here.directory / "through.kubeconfig"
    access = Access.read(here.kubeconfig)
    async with FaultProxy(here.plane.url, here.plane.ca).running() as proxy:
        proxy.begin("record", [NAMESPACE])
        proxy.sent = sent = []
        Access(proxy.url, access.authority, access.token).write(through)
        since = here.revision()
        operator = Operator(here, kubeconfig=through)
        try:
            await operator.until_quiet(size)
            await here.until_stored(since)
        finally:
            operator.stop()
        return Recording(size, sent, here.revision() - since)


async def replay(here: Lab, sent: Sequence[Sent], connections: int) -> float:
    """Send everything; return the seconds that it took."""
    access = Access.read(here.kubeconfig)
    tls = ssl.create_default_context(cafile=str(here.plane.ca))
    headers = {"Authorization": f"Bearer {access.token}", "Accept": "application/json", "Accept-Encoding": "identity"}
    todo = iter(sent)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as http:

        async def work() -> None:
            for each in todo:
                url, content = access.url + each.path, {"Content-Type": each.content_type}
                async with http.request(each.method, url, data=each.body, headers=content, ssl=tls) as answer:
                    text = await answer.read()
                    assert answer.ok, f"{each.path}: {answer.status} {text[:300]!r}"

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return time.perf_counter() - begun
