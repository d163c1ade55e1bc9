"""A proxy in front of the real API server that does what networks and busy servers do."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from modelservice_operator.kube.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cluster.controlplane import ControlPlane


class Proxy:
    """Forwards each request unless a fault that was put in its way says otherwise."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._faults: list[Callable[[web.Request], web.Response | None]] = []
        self.streams: set[asyncio.Task[object]] = set()
        self.requests: list[web.Request] = []
        self.port = 0
        self._lets_writes_pass = asyncio.Event()
        self._lets_writes_pass.set()

    def hold_writes(self) -> None:
        """Let no write pass from now on: it waits, and is forgotten when its sender has given up."""
        self._lets_writes_pass.clear()

    def let_writes_pass(self) -> None:
        """Let writes pass again."""
        self._lets_writes_pass.set()

    def answer_next(self, status: int, *, times: int = 1, headers: dict[str, str] | None = None) -> None:
        """Answer the next requests with this status and without asking the API server."""
        for _ in range(times):
            self._faults.append(
                lambda _: web.json_response({"kind": "Status", "message": "a fault"}, status=status, headers=headers)
            )

    def cut_streams(self) -> None:
        """Break off every answer that is being sent."""
        for task in self.streams:
            task.cancel()

    def credentials(self, directory: Path) -> Credentials:
        """Give credentials that lead through this proxy."""
        config = json.loads(self._plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        path = directory / "proxy.kubeconfig"
        path.write_text(json.dumps(config))
        return Credentials.load(str(path))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        body = await request.read()
        if self._faults and (response := self._faults.pop(0)(request)) is not None:
            return response
        if request.method != "GET":
            await self._lets_writes_pass.wait()
            if request.transport is None or request.transport.is_closing():
                raise web.HTTPServiceUnavailable
        return await self._forward(request, body)

    async def _forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with self._http.request(
            request.method, self._plane.url + request.raw_path, data=body or None, headers=headers, ssl=self._tls
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
            task = asyncio.current_task()
            assert task is not None
            self.streams.add(task)
            try:
                await response.prepare(request)
                with suppress(ConnectionError):
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
            finally:
                self.streams.discard(task)
            return response

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        self._tls = ssl.create_default_context(cafile=str(self._plane.ca))
        runner = web.AppRunner(_catch_all(self._handle), access_log=None, shutdown_timeout=0.1)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as self._http:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            try:
                yield self
            finally:
                self.cut_streams()
                await runner.cleanup()


def _catch_all(handler: Callable[[web.Request], object]) -> web.Application:
    app = web.Application(client_max_size=10 * 1024**2)
    app.router.add_route("*", "/{path:.*}", handler)
    return app
