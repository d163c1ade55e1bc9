"""Rolling restarts under load: two servers behind a balancer, clients that never retry, one after the other goes.

    python -m server.drain RUNS       (`make drain`: 50; the last line is a JSON object)

In each run a new server joins as soon as it is ready, then the oldest gets SIGTERM. The balancer decides per connection
by readiness alone, and learns of it by probes, as kube-proxy does: late. Servers differ in what could matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from server.support import Connection, Server, column, echo_directory, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAGS = (("--http", "fast"), ("--http", "asgi"), ("--http", "fast", "--processes", "2"))
PROBE_SECONDS = 0.1
DRAIN_DELAY = "3s"  # far longer than probes take to notice, also where the machine is busy
PASS_SECONDS = 0.005
CLIENTS_OF_A_KIND = 3
KINDS = {"fresh": None, "kept": 0.0, "paused": 0.5}  # how long connections rest between requests; None: one request
ENOUGH = 50  # requests, fresh and kept, before the next server goes


class Balancer:
    """Sends each new connection to one of the servers that were ready at the last probe."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self._ready: list[Server] = []
        self._turn = 0

    def pick(self) -> Server:
        """Take turns."""
        self._turn += 1
        return self._ready[self._turn % len(self._ready)]

    def knows(self, *servers: Server) -> bool:
        """Say whether just these are ready, as far as is known."""
        return set(map(id, self._ready)) == set(map(id, servers))

    async def probe(self) -> None:
        """Look at readiness again and again."""
        while True:
            self._ready = [server for server in self.servers if await asyncio.to_thread(server.is_ready)]
            await asyncio.sleep(PROBE_SECONDS)


class Clients:
    """Ask without retries until told to stop; whatever is not answered 200 is lost."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self.stop = False
        self.answered: Counter[str] = Counter()
        self.moved = 0
        self.lost: list[str] = []

    async def ask(self, kind: str) -> None:
        """Ask over one connection after the other, as this kind of client does."""
        while not self.stop:
            try:
                await self._ask_over_one_connection(kind, KINDS[kind])
            except (OSError, EOFError) as error:
                self.lost.append(f"{kind}: {error!r}")

    async def _ask_over_one_connection(self, kind: str, pause_seconds: float | None) -> None:
        connection = await Connection.to(self._balancer.pick().port)
        try:
            while not self.stop:
                answer = await connection.ask(column(7))
                if answer.status != 200:
                    self.lost.append(f"{kind}: {answer.status} {answer.body!r}")
                self.answered[kind] += 1
                if pause_seconds is None:
                    return
                if answer.headers.get("connection") == "close":
                    self.moved += 1
                    return
                await asyncio.sleep(random.uniform(0, pause_seconds))  # noqa: S311
        finally:
            await connection.close()


class Restarts:
    """The story of all runs."""

    def __init__(self, folder: Path) -> None:
        self._flags: Iterator[tuple[str, ...]] = itertools.cycle(FLAGS)
        self._names = map("m{}".format, itertools.count())
        self._folder = folder
        self._balancer = Balancer()
        self.clients = Clients(self._balancer)
        self.codes: list[int] = []

    async def run(self, runs: int) -> None:
        """Drain one server per run."""
        async with contextlib.AsyncExitStack() as stack:
            self._balancer.servers = [await self._start(stack) for _ in range(2)]
            newest = await self._start(stack)
            async with asyncio.TaskGroup() as tasks:
                probe = tasks.create_task(self._balancer.probe())
                await until(lambda: self._balancer.knows(*self._balancer.servers))
                for kind in CLIENTS_OF_A_KIND * list(KINDS):
                    tasks.create_task(self.clients.ask(kind))
                for _ in range(runs):
                    newest = await self._replace_oldest(newest, stack)
                self.clients.stop = True
                probe.cancel()

    async def _replace_oldest(self, newest: Server, stack: contextlib.AsyncExitStack) -> Server:
        """Let a server join and the oldest go; meanwhile start the next."""
        before = self.clients.answered.copy()
        oldest, other = self._balancer.servers
        self._balancer.servers = [oldest, other, newest]
        await until(lambda: self._balancer.knows(oldest, other, newest))
        await until(lambda: min((self.clients.answered - before)[kind] for kind in ("fresh", "kept")) > ENOUGH)
        oldest.terminate()
        code, following = await asyncio.gather(asyncio.to_thread(oldest.wait), self._start(stack))
        self.codes.append(code)
        self._balancer.servers = [other, newest]
        return following

    async def _start(self, stack: contextlib.AsyncExitStack) -> Server:
        directory = echo_directory(self._folder / next(self._names), pause_seconds=PASS_SECONDS)
        server = running(directory, *next(self._flags), "--drain-delay", DRAIN_DELAY)
        return await asyncio.to_thread(stack.enter_context, server)


async def restarts(folder: Path, runs: int) -> Restarts:
    """Go through some runs."""
    story = Restarts(folder)
    await story.run(runs)
    return story


def main() -> int:
    """Print what came of it."""
    runs = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        story = asyncio.run(restarts(Path(folder), runs))
    clients = story.clients
    for loss in clients.lost:
        print(loss)
    print(
        f"requests: {dict(clients.answered)}; answers that closed: {clients.moved}; exit codes: {Counter(story.codes)}"
    )
    told = {"drain_runs": len(story.codes), "drain_requests": clients.answered.total(), "drain_lost": len(clients.lost)}
    print(json.dumps(told))
    return int(bool(clients.lost) or any(story.codes))


if __name__ == "__main__":
    sys.exit(main())
