"""People and onlookers: the requests of a user with all rights, straight to the real API server."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from cluster.access import Access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster.controlplane import ControlPlane

Body = dict[str, Any]

MODEL_SERVICES = "/apis/modelservice.dev/v1alpha1"
_AT_ONCE = 8


class Admin:
    """A few verbs over paths; every answer that does not leave things as they were asked for is an AssertionError."""

    def __init__(self, http: aiohttp.ClientSession, url: str, tls: ssl.SSLContext) -> None:
        self._http, self._url, self._tls = http, url, tls
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    @asynccontextmanager
    async def of(cls, plane: ControlPlane) -> AsyncIterator[Admin]:
        """Talk to this control plane while the block runs."""
        access = Access.read(plane.kubeconfig)
        tls = ssl.create_default_context(cafile=str(plane.ca))
        headers = {"Authorization": f"Bearer {access.token}"}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:
            yield cls(http, access.url, tls)

    async def create(self, path: str, body: Body) -> Body:
        """Create an object in a collection, if it is not there."""
        return await self._request("POST", path, body, "application/json", good=(409,))

    async def merge(self, path: str, patch: Body) -> Body:
        """Merge a patch into an object."""
        return await self._request("PATCH", path, patch, "application/merge-patch+json")

    async def apply(self, path: str, body: Body) -> Body:
        """Apply a manifest as a user who keeps it in a file: what it no longer says goes away."""
        return await self._request(
            "PATCH", f"{path}?fieldManager=user&force=true", body, "application/apply-patch+yaml"
        )

    async def delete(self, path: str, **options: object) -> None:
        """Delete an object, if it is there."""
        await self._request("DELETE", path, options or None, "application/json", good=(404, 409))

    async def get(self, path: str) -> Body:
        """Read an object."""
        return await self._request("GET", path, None, "")

    async def items(self, path: str) -> list[Body]:
        """Read a collection; of a kind that is not served there is nothing."""
        found: list[Body] = (await self._request("GET", path, None, "", good=(404,))).get("items", [])
        return found

    async def exists(self, path: str) -> bool:
        """Tell whether there is such an object."""
        found = await self._request("GET", path, None, "", good=(404,))
        return found.get("kind") != "Status"

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[Body]]:
        """Open a stream of what happens to a collection from now on: the objects."""
        version = (await self.get(f"{path}?limit=1"))["metadata"]["resourceVersion"]
        url = f"{self._url}{path}?watch=true&resourceVersion={version}"
        async with self._http.get(url, ssl=self._tls, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            yield _objects(answer)

    async def follow(self, path: str, **query: str) -> AsyncIterator[Body]:
        """Give every object of a collection, then each that changes, until the server ends the stream."""
        query |= {"watch": "true"}
        forever = aiohttp.ClientTimeout(total=None)
        async with self._http.get(self._url + path, params=query, ssl=self._tls, timeout=forever) as answer:
            async for body in _objects(answer):
                yield body

    async def namespaces(self, names: list[str]) -> None:
        """Create namespaces."""
        await asyncio.gather(*(self.create("/api/v1/namespaces", {"metadata": {"name": name}}) for name in names))

    async def _request(
        self, method: str, path: str, body: Body | None, content_type: str, *, good: tuple[int, ...] = ()
    ) -> Body:
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type} if data is not None else {}
        while True:
            async with (
                self._slots,
                self._http.request(method, self._url + path, data=data, headers=headers, ssl=self._tls) as answer,
            ):
                text = await answer.read()
            if answer.status != 429:
                break
            # Asked to come back: of a kind whose definition has just come, whose storage is not ready yet.
            await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
        assert answer.status < 400 or answer.status in good, f"{method} {path}: {answer.status} {text[:500]!r}"
        parsed: Body = orjson.loads(text) if answer.content_type == "application/json" else {}
        return parsed


async def _objects(answer: aiohttp.ClientResponse) -> AsyncIterator[Body]:
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield orjson.loads(line)["object"]


def services(namespace: str, name: str = "", subresource: str = "") -> str:
    """Return the path of the ModelServices of a namespace, of one of them, or of its subresource."""
    path = f"{MODEL_SERVICES}/namespaces/{namespace}/modelservices"
    return path + (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")


def model_service(name: str, spec: Body) -> Body:
    """Return a ModelService as a user writes it."""
    return {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": spec,
    }
