"""`model-server serve`: from a model directory to a drained exit.

open both ports ─► load and prove the model ─► ready ─► SIGTERM ─► not ready, still serving, `Connection: close`
                                                                        │ drain delay: the balancers catch up
                                 exit 0 ◄─ finish what is in flight ◄───┘

One process does all of it; where the CPU limit allows more, a crew of processes does (`crew`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import uvloop

from model_server.cgroup import allowed_processes
from model_server.crew import serve_together
from model_server.door import build_door
from model_server.drift import shared_tallies
from model_server.listener import bind
from model_server.metrics import Metrics
from model_server.server import Observatory, Server, clock, leave, listen_to_signals, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_server.artefact.card import Trust
    from model_server.door import Door
    from model_server.limits import Limits
    from model_server.precision import Precision
    from model_server.protocol.explain import Method

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, parsed."""

    directory: Path
    name: str
    host: str
    port: int
    metrics_port: int
    http: Literal["fast", "asgi"]
    processes: int | None
    digest_file: Path | None
    trust: Trust
    precision: Precision
    explain: Sequence[Method]
    tokens_dir: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    limits: Limits
    drain_delay_seconds: float
    drain_timeout_seconds: float
    latency_buckets: Sequence[float]


def serve(options: Options) -> None:
    """Serve until told to stop; raises ModelError when the model cannot be served."""
    door = build_door(options.tokens_dir, options.tls_cert, options.tls_key)
    log.info("the serving port: %s", door.told())
    processes = options.processes or allowed_processes()
    if processes > 1:
        serve_together(options, door, processes)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        clean = runner.run(_serve_alone(options, door))
    leave(clean=clean)


async def _serve_alone(options: Options, door: Door) -> bool:
    """Go through all phases; False when the model's thread is still busy at the end."""
    started = clock()
    stop, hurry = listen_to_signals()
    metrics = Metrics(options.limits.max_batch_size, options.latency_buckets, tally=shared_tallies(1)[0])
    server = Server(options, door, metrics)
    observatory = Observatory(options, door, server.health, [metrics])

    async def load() -> None:
        facts = await server.load(started)
        observatory.know(facts)
        log.info("ready: %s (%s) after %.1f s", options.name, facts.info["digest"], clock() - started)

    try:
        # Both ports before the model: probes should hear `loading`, not a refused connection.
        sockets = [bind(options.host, options.port)]
        server.open(sockets[0])
        sockets.append(bind(options.host, options.metrics_port))
        observatory.open(sockets[1])
        log.info(
            "listening on port %d (requests) and %d (health, metrics)", *(each.getsockname()[1] for each in sockets)
        )
        await until(stop, load())
        await stop.wait()
        log.info("draining: not ready, serving for another %g s", options.drain_delay_seconds)
        await server.drain(hurry)
    finally:
        clean = await server.close()
        await observatory.close()
        log.info("stopped")
    return clean
