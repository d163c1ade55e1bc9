"""The bare client: sends recorded requests over some connections as fast as the API server takes them, and does no more."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

import aiohttp

from cluster.access import Access
from faults.admin import Admin
from faults.proxy import FaultProxy, Sent
from lab import NAMESPACE, Operator, lab, name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


async def record(size: int, children: int) -> list[Sent]:
    """Return every write that the operator sends for so many new services, in order."""
    async with lab(size) as here, FaultProxy(here.plane.url, here.plane.ca).running() as proxy:
        proxy.begin("record", [NAMESPACE])
        proxy.sent = []
        through = here.directory / "through.kubeconfig"
        access = Access.read(here.kubeconfig)
        Access(proxy.url, access.authority, access.token).write(through)
        since = here.revision()
        operator = Operator(here, kubeconfig=through)
        try:
            await here.until_stored(since, children)
            await operator.until_quiet(size)
        finally:
            operator.stop()
        return proxy.sent


def of_first(sent: Sequence[Sent], size: int) -> list[Sent]:
    """Return the requests about the first services only."""
    last = name(size)
    return [each for each in sent if each.path.split("?")[0].split(f"/{NAMESPACE}/")[1].split("/")[1] < last]


async def replay(kubeconfig: Path, authority: Path, sent: Sequence[Sent], connections: int) -> float:
    """Send everything; return the seconds that it took."""
    access = Access.read(kubeconfig)
    tls = ssl.create_default_context(cafile=str(authority))
    todo = iter(sent)
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {access.token}"}) as http:

        async def work() -> None:
            for each in todo:
                headers = {"Content-Type": each.content_type}
                async with http.request(each.method, access.url + each.path, data=each.body, headers=headers, ssl=tls) as answer:
                    text = await answer.read()
                    assert answer.status < 300, f"{each.path}: {answer.status} {text[:300]!r}"  # noqa: PLR2004

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return time.perf_counter() - begun


__all__ = ["Admin", "of_first", "record", "replay"]
