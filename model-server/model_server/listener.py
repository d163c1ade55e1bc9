"""uvicorn's server under our lifecycle: own sockets, no signal handlers, no polling.

uvicorn wakes ten times a second to look at a flag and to renew its Date header; this one sleeps until it is told to
stop; once a second it renews the header and looks for connections that take too long. It must stop in a way that loses
nothing, which is uvicorn's own shutdown: close the listening sockets, then the idle connections, wait for the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from typing import TYPE_CHECKING

import uvicorn

from model_server.connection import KEEP_ALIVE_SECONDS, Connection, State, Terms
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_server.asgi import Application

BACKLOG = 2048
TICK_SECONDS = 1.0
_HANDSHAKE_SECONDS = 10.0


class Listener(uvicorn.Server):
    """Serves one application on one socket."""

    def __init__(
        self,
        application: Application,
        terms: Terms,
        sock: socket.socket,
        *,
        headers: list[tuple[str, str]],
        grace_seconds: float,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                headers=headers,
                timeout_graceful_shutdown=math.ceil(grace_seconds),
                backlog=BACKLOG,
            )
        )
        self.server_state: State = State()
        self._terms = terms
        self._socket = sock
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port, also where the system chose it."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin to accept."""
        self._terms.door.look()  # what this process was born with may be old
        self._task = asyncio.create_task(self.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        """Accept no more, finish what is in flight (up to the grace), close."""
        self._stop.set()
        if self._task is not None:
            await self._task
        if self._ticking is not None:
            self._ticking.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # there is one
        """Listen, as uvicorn does, but with bounds of our own on the begin and the end of TLS.

        uvloop would wait a minute for a handshake, and cut off a last answer that takes longer than half a minute. Who
        has it and does not say goodbye is not waited for as long as that: `sweep` sees to it.
        """
        context = self._terms.door.context()
        listening = await asyncio.get_running_loop().create_server(
            lambda: Connection(self.config, self.server_state, self.lifespan.state, terms=self._terms),
            sock=self._socket,
            backlog=self.config.backlog,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if context else None,
            ssl_shutdown_timeout=KEEP_ALIVE_SECONDS if context else None,
        )
        self.servers = [listening]
        self.started = True

    async def main_loop(self) -> None:
        """Sleep until `stop`."""
        await self._tick()
        self._ticking = asyncio.create_task(self._tick_on())
        await self._stop.wait()

    async def _tick_on(self) -> None:
        """Go on through uvicorn's shutdown, which would else wait for clients that take too long."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self._tick()

    async def _tick(self) -> None:
        """Renew the Date header and what the door asks for, and end what takes too long."""
        await self.on_tick(0)
        self._terms.door.look()
        self.server_state.write_out_headers()
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.sweep(now)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: they belong to the lifecycle."""
        yield


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Open a listening port; without a host on all addresses, IPv6 and IPv4, as clusters may have either.

    A shared port may be opened again: the kernel spreads connections over all sockets of it.
    """
    try:
        if host:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG, reuse_port=shared
            )
        return socket.create_server(("", port), backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        message = f"Port {port} cannot be opened on {host or 'all addresses'}: {error.strerror}."
        raise ModelError(Reason.INVALID, message) from error
