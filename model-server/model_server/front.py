"""The process in front of a crew: answers probes and scrapes for all, and clients as long as there is no model.

It has neither torch nor the model, so it answers however busy the others are. It hears from the crew's parent through a
socket: first what was loaded, then the end of the stream. It never outlives the parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING

import uvloop

from model_server.health import Health, Phase
from model_server.process import fork
from model_server.routes import guarded, loading_routes
from model_server.server import Facts, Observatory, clock, listen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.board import Board
    from model_server.door import Door
    from model_server.serve import Options


class Front:
    """The parent's hand on that process."""

    def __init__(self, options: Options, door: Door, board: Board, sock: socket.socket) -> None:
        self._options = options
        self._door = door
        self._board = board
        self._socket = sock
        self._facts: Facts | None = None
        self.pid = 0

    def start(self, requests: Sequence[socket.socket]) -> None:
        """Fork it; until it is told of a model it serves the first of the sockets for requests."""
        self._line, end = socket.socketpair()

        def work() -> None:
            self._line.close()
            self._door.silent = True
            for each in requests if self._facts else requests[1:]:
                each.close()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._stand(requests[0], end))

        self.pid = fork(work)
        end.close()

    def tell(self, facts: Facts) -> None:
        """Tell it what was loaded: from now on the workers answer clients."""
        self._facts = facts
        with contextlib.suppress(ConnectionError):  # it has died; the next one is born with the facts
            self._line.sendall(json.dumps(asdict(facts)).encode() + b"\n")

    def let_go(self) -> None:
        """Close here what belongs to it."""
        self._line.close()
        self._socket.close()

    def bury(self) -> None:
        """Forget the one that has died."""
        self._line.close()
        self.pid = 0

    def stop(self) -> None:
        """Let it finish, and wait for that."""
        self.let_go()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    async def _stand(self, requests: socket.socket, line: socket.socket) -> None:
        """Be the process."""
        facts = self._facts
        health = Health(lambda: True, self._board.all_ready)

        def drain() -> None:
            health.phase = Phase.DRAINING

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, drain)
        observatory = Observatory(self._options, self._door, health, self._board.workers, self._board.front)
        observatory.open(self._socket)
        reader, writer = await asyncio.open_connection(sock=line)
        if facts is None:
            loading = loading_routes(self._options.name, health, self._board.front, clock)
            # None of their connections is kept: others will answer the next request.
            handle = guarded(loading.handle, self._board.front, clock)
            clients = listen(requests, handle, lambda: True, self._options, door=self._door)
            if told := await reader.readline():
                facts = Facts(**json.loads(told))
            await clients.stop()
        if facts is not None:
            observatory.know(facts)
            if health.phase is Phase.LOADING:
                health.phase = Phase.READY
            await reader.read()  # to the end, which is the parent's
        await observatory.close()
        writer.close()
