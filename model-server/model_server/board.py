"""The rows on which a crew's processes see each other: what each counts, whether it is ready, when it was last well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from model_server.drift import shared_tallies
from model_server.metrics import Metrics, shared_rows
from model_server.server import clock

if TYPE_CHECKING:
    from model_server.health import Health
    from model_server.serve import Options

BEAT_SECONDS = 1.0
STALE_SECONDS = 10.0


class Board:
    """A row for each worker and one for the front; to be made before the first fork."""

    def __init__(self, options: Options, workers: int) -> None:
        limits = options.limits
        rows = zip(shared_rows(workers + 1), shared_tallies(workers + 1), strict=True)
        *self.workers, self.front = (Metrics(limits.max_batch_size, options.latency_buckets, *row) for row in rows)

    def all_ready(self) -> bool:
        """Say whether every worker takes requests, and was well a moment ago."""
        return all(each.ready.value and silence(each) < STALE_SECONDS for each in self.workers)


def silence(metrics: Metrics) -> float:
    """Tell for how many seconds nothing was heard of a process."""
    return clock() - metrics.beat.value


async def beat(metrics: Metrics, health: Health) -> None:
    """Show that the loop turns and the model's thread lives, for as long as they do."""
    while True:
        if health.live:
            metrics.beat.value = clock()
        await asyncio.sleep(BEAT_SECONDS)
