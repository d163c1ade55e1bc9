"""`model-server serve`: from a model directory to a drained exit.

open both ports ─► load and prove the model ─► ready ─► SIGTERM ─► not ready, still serving, `Connection: close`
                                                                        │ drain delay: the balancers catch up
                                 exit 0 ◄─ finish what is in flight ◄───┘
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import uvloop

from model_server import __version__
from model_server.artefact.record import read_fetch_seconds
from model_server.asgi import application
from model_server.batcher import Batcher
from model_server.connection import Terms
from model_server.executor import Executor
from model_server.health import Health, Phase
from model_server.infer import Infer
from model_server.listener import Listener, bind
from model_server.metrics import Metrics, Now, exposition
from model_server.routes import loading_routes, observing_routes, serving_routes

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from model_server.artefact.card import Trust
    from model_server.exchange import Pending, Reply, Request
    from model_server.limits import Limits
    from model_server.model import Model

log = logging.getLogger(__name__)
clock = time.perf_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line, parsed."""

    directory: Path
    name: str
    host: str
    port: int
    metrics_port: int
    http: Literal["fast", "asgi"]
    digest_file: Path | None
    trust: Trust
    limits: Limits
    drain_delay_seconds: float
    drain_timeout_seconds: float
    latency_buckets: Sequence[float]


def serve(options: Options) -> None:
    """Serve until told to stop; raises ModelError when the model cannot be served."""
    # Before torch is imported: one computing thread per process, and none that spins while it waits.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        clean = runner.run(_live(options))
    if not clean:
        # The thread is inside torch, loading or computing for nobody. Python would end it in the middle of C++ code,
        # which aborts the process; what had to be finished is finished.
        logging.shutdown()
        os._exit(0)


async def _live(options: Options) -> bool:
    """Go through all phases; False when the model's thread is still busy at the end."""
    stop, hurry = _listen_to_signals(asyncio.get_running_loop())
    server = Server(options)
    try:
        server.open_ports()
        await _until(stop, server.load())
        await stop.wait()
        await server.drain(hurry)
    finally:
        clean = await server.close()
    return clean


class Server:
    """The parts of one serving process; `_live` is the order of its life."""

    def __init__(self, options: Options) -> None:
        loop = asyncio.get_running_loop()
        self._options = options
        self._started = clock()
        self._executor = Executor(loop)
        self._health = Health(self._executor.is_alive)
        self._metrics = Metrics(options.limits.max_batch_size, options.latency_buckets)
        self._info = {"version": __version__, "python": platform.python_version()}
        self._load_seconds: dict[str, float] = {}
        self._router = loading_routes(options.name, self._health, self._metrics, clock)
        self._listeners: list[Listener] = []

    def open_ports(self) -> None:
        """Answer on both ports: probes should hear `loading`, not a refused connection."""
        options = self._options
        observing = observing_routes(self._health, self._metrics_text)
        for port, handle in ((options.port, self._handle), (options.metrics_port, observing.handle)):
            sock = bind(options.host, port)
            terms = Terms(handle, self._is_draining, options.limits, clock, fast=options.http == "fast")
            self._listeners.append(
                Listener(
                    application(terms),
                    terms,
                    sock,
                    headers=[("x-served-by", socket.gethostname())],  # in a pod: the pod's name
                    grace_seconds=options.drain_timeout_seconds,
                )
            )
        for listener in self._listeners:
            listener.start()
        log.info("listening on port %d (requests) and %d (health, metrics)", *(each.port for each in self._listeners))

    async def load(self) -> None:
        """Load the model in the thread that will run it, and let requests in."""
        options = self._options
        if (seconds := read_fetch_seconds(options.digest_file)) is not None:
            self._load_seconds["fetch"] = seconds
        model = await self._executor.run(partial(_load, options))
        loaded = clock()
        self._load_seconds["load"] = loaded - self._started
        await self._executor.run(model.prove)
        self._load_seconds["warm_up"] = clock() - loaded
        self._info |= {
            "model_version": model.version,
            "digest": model.digest,
            "format": model.card.format,
            "architecture": model.card.architecture,
        }
        batcher = Batcher(
            forward=model.forward,
            worker=self._executor,
            loop=asyncio.get_running_loop(),
            clock=clock,
            limits=options.limits,
            metrics=self._metrics,
        )
        infer = Infer(
            name=options.name,
            version=model.version,
            signature=model.signature,
            batcher=batcher,
            metrics=self._metrics,
            clock=clock,
        )
        self._router = serving_routes(
            name=options.name,
            version=model.version,
            platform=model.platform,
            signature=model.signature,
            infer=infer,
            health=self._health,
        )
        self._health.phase = Phase.READY
        log.info("ready: %s (%s) after %.1f s", options.name, model.digest, clock() - self._started)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Send clients elsewhere before anything is closed.

        Kept connections move only when an answer tells them to, and balancers need a while to see that this server is
        not ready: until then both keep coming and are served.
        """
        self._health.phase = Phase.DRAINING
        log.info("draining: not ready, serving for another %g s", self._options.drain_delay_seconds)
        await _until(hurry, asyncio.sleep(self._options.drain_delay_seconds))

    async def close(self) -> bool:
        """Finish what is in flight; the port for probes and scrapes goes last."""
        for listener in self._listeners:
            await listener.stop()
        log.info("stopped")
        return self._executor.stop()

    def _handle(self, request: Request, reply: Reply) -> Pending | None:
        return self._router.handle(request, reply)

    def _is_draining(self) -> bool:
        return self._health.phase is Phase.DRAINING

    def _metrics_text(self) -> bytes:
        now = Now(
            ready=self._health.ready,
            queue_oldest_seconds=self._metrics.oldest_seconds(clock()),
            info=self._info,
            load_seconds=self._load_seconds,
        )
        return exposition(self._metrics, now, self._options.name)


def _load(options: Options) -> Model:
    from model_server.model import load  # noqa: PLC0415  # a second of imports, while the ports are open

    return load(options.directory, options.digest_file, options.trust)


def _listen_to_signals(loop: asyncio.AbstractEventLoop) -> tuple[asyncio.Event, asyncio.Event]:
    """SIGTERM asks to drain; a second one, or Ctrl-C, not to wait for balancers."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal(*, patient: bool) -> None:
        if stop.is_set() or not patient:
            hurry.set()
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, partial(on_signal, patient=True))
    loop.add_signal_handler(signal.SIGINT, partial(on_signal, patient=False))
    return stop, hurry


async def _until(event: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Await the work, but no longer than until the event."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.ensure_future(event.wait())
    await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if task.done():
        task.result()
    else:
        task.cancel()
