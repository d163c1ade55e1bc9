"""What a sweep runs on: a real API server and controllers, played pods, the operator behind the fault proxy."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cluster import ports
from cluster.access import Access
from controlplane.conftest import kubectl_of
from faults import pods
from faults.admin import Admin
from faults.mortal import MortalOperator
from faults.proxy import FaultProxy
from faults.state import State, states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cluster.controlplane import ControlPlane

_WORKERS = 48  # of the operator: so many of its writes can wait for its death at the same time
_COMPANY_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_QUIET_SECONDS = 1.5
_PATIENCE_SECONDS = 90  # with an operator that writes nothing
_LONGEST_SECONDS = 900


@dataclass
class World:
    """What the stories use."""

    admin: Admin
    proxy: FaultProxy
    operator: MortalOperator
    crashes: int = 0

    async def until(self, holds: Callable[[dict[str, State]], bool]) -> dict[str, State] | None:
        """Look at all namespaces until something holds and the operator has not written for a while.

        None: in vain; it has not written for long, or does not stop. How long all takes is the machine's business.
        """
        begun = now = time.monotonic()
        written, wrote = len(self.proxy.writes), begun
        while now - wrote < _PATIENCE_SECONDS and now - begun < _LONGEST_SECONDS:
            assert not self.operator.has_ended(), f"the operator has ended: {self.words()}"
            now, before = time.monotonic(), len(self.proxy.writes)
            if before != written:
                written, wrote = before, now
            found = await states(self.admin)
            if holds(found):
                await asyncio.sleep(_QUIET_SECONDS)  # what is quiet stays quiet
                found = await states(self.admin)
                if holds(found) and len(self.proxy.writes) == before and not self.proxy.victims:
                    return found
            else:
                await asyncio.sleep(_LOOK_SECONDS)
        return None

    def words(self) -> str:
        """Return what the operator has logged last."""
        return self.operator.log.read_text()[-3000:]

    async def restart(self) -> None:
        """End the operator as a lost node does, and start it again."""
        self.crashes += 1
        await asyncio.to_thread(self.operator.kill)
        self.proxy.killed()
        await asyncio.to_thread(self.operator.start)

    async def _serve_crashes(self) -> None:
        """Kill the operator whenever writes wait for that: few deaths, many crash points."""
        while True:
            waiting = self.proxy.victims
            await asyncio.sleep(_COMPANY_SECONDS if waiting else 0.05)
            if waiting and (self.proxy.victims == waiting or waiting >= _WORKERS):
                await self.restart()


@asynccontextmanager
async def world(plane: ControlPlane, directory: Path) -> AsyncIterator[World]:
    """Bring everything up around a control plane with controllers; the operator runs."""
    async with Admin.of(plane) as admin, FaultProxy(plane.url, plane.ca).running() as proxy:
        through = directory / "proxy.kubeconfig"
        replace(Access.read(plane.kubeconfig), url=proxy.url).write(through)
        operator = await asyncio.to_thread(MortalOperator, kubectl_of(plane), through, directory, ports.free(1)[0])
        here = World(admin, proxy, operator)
        async with pods.served(admin):
            await asyncio.to_thread(operator.start)
            crashes = asyncio.create_task(here._serve_crashes())
            try:
                yield here
            finally:
                crashes.cancel()
                with suppress(asyncio.CancelledError):
                    await crashes
                await asyncio.to_thread(operator.bury)
