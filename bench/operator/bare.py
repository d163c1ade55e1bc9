"""The bare client: sends recorded writes as fast as the API server takes them over some connections, and no more."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp

from cluster.access import Access
from faults.proxy import FaultProxy, Sent
from lab import NAMESPACE, Lab, name, on
from modelservice_operator.cli import KINDS
from subject import Operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from modelservice_operator.kube.resources import Resource

_WATCHED = (KINDS.services, *KINDS.children)
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


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


async def replay(here: Lab, sent: Sequence[Sent], connections: int, *, listens: bool = False) -> float:
    """Send everything; return the seconds that it took.

    One that `listens` has the operator's watches open meanwhile, and drops what it hears: whoever looks after objects
    can do no less.
    """
    access = Access.read(here.kubeconfig)
    tls = ssl.create_default_context(cafile=str(here.plane.ca))
    headers = {"Authorization": f"Bearer {access.token}", "Accept": "application/json", "Accept-Encoding": "identity"}
    todo = iter(sent)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls), headers=headers) as http,
        _listening(http, access.url, _WATCHED if listens else ()),
    ):

        async def work() -> None:
            for each in todo:
                url, content = access.url + each.path, {"Content-Type": each.content_type}
                async with http.request(each.method, url, data=each.body, headers=content) as answer:
                    text = await answer.read()
                    assert answer.ok, f"{each.path}: {answer.status} {text[:300]!r}"

        with on(here.writers_cpus):
            begun = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(connections)))
            return time.perf_counter() - begun


@asynccontextmanager
async def _listening(http: aiohttp.ClientSession, server: str, resources: Iterable[Resource]) -> AsyncIterator[None]:
    """Hear of all changes of some kinds from now on."""
    listeners = [asyncio.create_task(_hear(await _opened(http, server, resource))) for resource in resources]
    try:
        yield
        assert not any(listener.done() for listener in listeners), "a watch has ended"
    finally:
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


async def _opened(http: aiohttp.ClientSession, server: str, resource: Resource) -> aiohttp.ClientResponse:
    """Open a watch; an API server that has just started asks to come back for one until it has read the kind."""
    url, selector = server + resource.path(), {} if resource == KINDS.services else {"labelSelector": KINDS.label}
    async with http.get(url, params={"limit": "1", **selector}) as answer:
        version = (await answer.json())["metadata"]["resourceVersion"]
    question = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, **selector}
    while True:
        stream = await http.get(url, params=question, timeout=_NO_LIMIT)
        if stream.status != HTTPStatus.TOO_MANY_REQUESTS:
            break
        stream.close()
        await asyncio.sleep(0.2)
    assert stream.ok, f"{resource}: {stream.status} {await stream.text()}"
    return stream


async def _hear(stream: aiohttp.ClientResponse) -> None:
    async with stream:
        async for _ in stream.content.iter_any():
            pass
