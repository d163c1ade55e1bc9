"""/healthz: the loop is alive. /readyz: what the operator knows is complete and fresh. /metrics.

Only /healthz may end the process, so it knows nothing of the API server: a restart mends no outage.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from modelservice_operator.engine.metrics import LOOP_LAG_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

_BEAT_SECONDS: Final = 1.0
_DEAD_AFTER_SECONDS: Final = 30.0


class Heartbeat:
    """Measures whether the event loop comes round."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    @property
    def alive(self) -> bool:
        """Tell whether the loop has come round lately."""
        return self._clock() - self._last < _DEAD_AFTER_SECONDS

    async def run(self) -> NoReturn:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            now = self._clock()
            LOOP_LAG_SECONDS.set(max(now - self._last - _BEAT_SECONDS, 0.0))
            self._last = now


@asynccontextmanager
async def serving(
    host: str | None,
    port: int,
    heartbeat: Heartbeat,
    *,
    unready: Callable[[], Sequence[str]],
    gauges: Callable[[], str],
) -> AsyncIterator[None]:
    """Serve the three pages; `unready` gives a sentence for each thing that is not as it should be.

    `gauges` gives what /metrics shows beside our own metrics, in the same format.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if heartbeat.alive else web.Response(status=503, text="the loop is stuck\n")

    async def readyz(_: web.Request) -> web.Response:
        problems = unready()
        return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest() + gauges().encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    pages = web.Application()
    pages.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(pages, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
