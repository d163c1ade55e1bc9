"""The parts that a serving process is made of: the model's port, and the port for probes and scrapes.

With one process it has both; with several each has the first, and the front has the second (`crew`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import signal
import socket
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from model_server import __version__
from model_server.artefact.card import read_card, specs
from model_server.artefact.record import read_fetch_seconds
from model_server.asgi import application
from model_server.batcher import Batcher
from model_server.busy_poll import BusyPoll
from model_server.connection import Terms
from model_server.door import Door
from model_server.drift import Drift, Sampler, drifts
from model_server.executor import Executor
from model_server.explain import Explain
from model_server.health import Health, Phase
from model_server.infer import Infer
from model_server.listener import Listener
from model_server.metrics import Metrics, Now, exposition
from model_server.reference import InputReference, read_reference
from model_server.routes import guarded, loading_routes, observing_routes, serving_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from model_server.exchange import Handler, Pending, Reply, Request
    from model_server.model import Model
    from model_server.protocol.datatypes import Arrays
    from model_server.serve import Options

log = logging.getLogger(__name__)
MAX_COLUMNS = 50  # of an input, whose drift is told one by one
SHORT_GRACE_SECONDS = 2.0  # a scrape that takes longer is not worth waiting for
clock = time.perf_counter  # CLOCK_MONOTONIC on Linux: the same in all processes
BORN = time.time()  # of the process from which all others are forked; what they count outlives them


@dataclass(frozen=True, slots=True)
class Facts:
    """What a scrape tells that never changes once the model is proven."""

    info: dict[str, str] = field(default_factory=lambda: {"version": __version__, "python": platform.python_version()})
    load_seconds: dict[str, float] = field(default_factory=dict)


def load_proven(options: Options, started: float) -> tuple[Model, Facts]:
    """Load the model, prove it, and tell what it is and how long each phase took."""
    from model_server.model import read  # noqa: PLC0415  # a second of imports, while the ports are open

    facts = Facts()
    if (seconds := read_fetch_seconds(options.digest_file)) is not None:
        facts.load_seconds["fetch"] = seconds
    loaded = read(options.directory, options.digest_file, options.trust, options.precision)
    load_ended = clock()
    facts.load_seconds["load"] = load_ended - started
    model = loaded.proven()
    if options.explain:
        model = replace(model, explainer=loaded.explainer(options.limits.max_batch_size))
    facts.load_seconds["warm_up"] = clock() - load_ended
    facts.info.update(
        model_version=model.version,
        digest=model.digest,
        format=model.card.format,
        architecture=model.card.architecture,
        precision=model.choice.precision,
        golden_error="" if model.choice.error is None else f"{model.choice.error:.2g}",
    )
    log.info("computing in %s: %s", model.choice.precision, model.choice.reason)
    # What is there now stays. A full collection would look at all of it, while nobody is answered (torch: 0.1 to 0.2 s,
    # measured), and write to every object, which copies the pages that processes share.
    gc.collect()
    gc.freeze()
    return model, facts


class Server:
    """Answers requests: a port, a model, the thread that runs it."""

    def __init__(
        self, options: Options, door: Door, metrics: Metrics, others_are_ready: Callable[[], bool] = lambda: True
    ) -> None:
        self._options = options
        self._door = door
        self._metrics = metrics
        self._executor = Executor(asyncio.get_running_loop())
        self._explaining: Executor | None = None
        self.health = Health(self._executor.is_alive, others_are_ready)
        self._router = loading_routes(options.name, self.health, metrics, clock)
        self._listener: Listener | None = None

    def open(self, sock: socket.socket) -> None:
        """Answer; as long as there is no model, that it is loading."""
        grace_seconds = self._options.drain_timeout_seconds
        handle = guarded(self._handle, self._metrics, clock)
        self._listener = listen(
            sock, handle, self._is_draining, self._options, door=self._door, grace_seconds=grace_seconds
        )

    async def load(self, started: float) -> Facts:
        """Load the model in the thread that will run it, and let requests in."""
        model, facts = await self._executor.run(partial(load_proven, self._options, started))
        self.let_in(model)
        return facts

    async def prove(self, model: Model) -> None:
        """Let requests in to a model that another process has loaded, once it holds in this one too."""
        await self._executor.run(model.prove)
        self.let_in(model)

    def let_in(self, model: Model) -> None:
        """Answer with the model from now on."""
        options, loop = self._options, asyncio.get_running_loop()
        batcher = Batcher(
            forward=model.forward,
            worker=self._executor,
            loop=loop,
            clock=clock,
            limits=options.limits,
            metrics=self._metrics,
            look=self._sampler(model),
        )
        infer = Infer(
            name=options.name,
            version=model.version,
            signature=model.signature,
            batcher=batcher,
            metrics=self._metrics,
            clock=clock,
            busy_poll=BusyPoll(loop.call_soon, clock),
        )
        self._router = serving_routes(
            name=options.name,
            version=model.version,
            platform=model.platform,
            signature=model.signature,
            parameters=model.choice.parameters() | ({"explain_methods": options.explain} if options.explain else {}),
            infer=infer,
            explain=self._explain(model),
            health=self.health,
        )
        self.health.phase = Phase.READY
        self._metrics.ready.value = 1

    def _sampler(self, model: Model) -> Callable[[Arrays], None] | None:
        if not model.reference or self._metrics.tally is None:
            return None
        return Sampler(model.reference, self._metrics.tally, clock).look

    def _explain(self, model: Model) -> Explain | None:
        if model.explainer is None:
            return None
        loop = asyncio.get_running_loop()
        self._explaining = Executor(loop, "explain")
        return Explain(
            name=self._options.name,
            version=model.version,
            signature=model.signature,
            methods=self._options.explain,
            explainer=model.explainer,
            worker=self._explaining,
            loop=loop,
            limits=self._options.limits,
            metrics=self._metrics,
            clock=clock,
        )

    async def drain(self, hurry: asyncio.Event) -> None:
        """Send clients elsewhere before anything is closed.

        Kept connections move only when an answer tells them to, and balancers need a while to see that this server is
        not ready: until then both keep coming and are served.
        """
        self.health.phase = Phase.DRAINING
        await until(hurry, asyncio.sleep(self._options.drain_delay_seconds))

    async def close(self) -> bool:
        """Finish what is in flight; False when a thread of the model's is still busy at the end."""
        if self._listener is not None:
            await self._listener.stop()
        threads = [each for each in (self._executor, self._explaining) if each is not None]
        return all([each.stop() for each in threads])  # noqa: C419  # each of them, also behind one that is busy

    def _handle(self, request: Request, reply: Reply) -> Pending | None:
        return self._router.handle(request, reply)

    def _is_draining(self) -> bool:
        return self.health.phase is Phase.DRAINING


class Observatory:
    """Answers probes and scrapes for all processes that serve the model."""

    def __init__(
        self, options: Options, door: Door, health: Health, workers: Sequence[Metrics], *more: Metrics
    ) -> None:
        self._options = options
        self._door = door
        self._health = health
        self._workers = workers
        self._all = [*workers, *more]
        self._listener: Listener | None = None
        self._facts = Facts()
        self._reference: tuple[InputReference, ...] = ()
        self._columns: list[tuple[str, ...]] = []

    def know(self, facts: Facts) -> None:
        """Tell of what was loaded from now on."""
        self._facts = facts
        card = read_card(self._options.directory)
        self._reference = read_reference(self._options.directory, specs(card.inputs))
        self._columns = [each.labels if len(each.labels) <= MAX_COLUMNS else () for each in card.inputs]

    def open(self, sock: socket.socket) -> None:
        """Answer."""
        routes = observing_routes(self._health, self._metrics_text)
        # Plain and open to all: neither probes nor scrapes nor the operator need a token.
        self._listener = listen(sock, routes.handle, self._is_draining, self._options, door=Door())

    async def close(self) -> None:
        """Finish the scrape that is in flight."""
        if self._listener is not None:
            await self._listener.stop()

    def _is_draining(self) -> bool:
        return self._health.phase is Phase.DRAINING

    def _drifts(self, moment: float) -> list[Drift]:
        tallies = [each.tally for each in self._workers if each.tally is not None]
        return list(drifts(self._reference, self._columns, tallies, moment)) if self._reference else []

    def _metrics_text(self) -> bytes:
        moment = clock()
        self._door.look()  # nobody comes through it in a process that only observes
        pair = self._door.pair
        now = Now(
            ready=self._health.ready,
            queue_oldest_seconds=max(each.oldest_seconds(moment) for each in self._workers),
            born=BORN,
            info=self._facts.info,
            workers=len(self._workers),
            explains=bool(self._options.explain),
            renewals=self._door.renewals(),
            certificate_expires=None if pair is None else pair.content.expires,
            load_seconds=self._facts.load_seconds,
            drifts=self._drifts(moment),
        )
        return exposition(Metrics.summed(self._all), now, self._options.name)


def listen(
    sock: socket.socket,
    handle: Handler,
    closing: Callable[[], bool],
    options: Options,
    *,
    door: Door,
    grace_seconds: float = SHORT_GRACE_SECONDS,
) -> Listener:
    """Serve handlers on a socket."""
    terms = Terms(handle, closing, options.limits, clock, door, fast=options.http == "fast")
    listener = Listener(
        application(terms),
        terms,
        sock,
        headers=[("x-served-by", socket.gethostname())],  # in a pod: the pod's name
        grace_seconds=grace_seconds,
    )
    listener.start()
    return listener


def listen_to_signals(*, second_hurries: bool = True) -> tuple[asyncio.Event, asyncio.Event]:
    """SIGTERM asks to drain; a second one, or Ctrl-C, not to wait for balancers."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal(*, patient: bool) -> None:
        if not patient or (stop.is_set() and second_hurries):
            hurry.set()
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, partial(on_signal, patient=True))
    loop.add_signal_handler(signal.SIGINT, partial(on_signal, patient=False))
    return stop, hurry


async def until(event: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Await the work, but no longer than until the event."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.ensure_future(event.wait())
    await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if task.done():
        task.result()
    else:
        task.cancel()


def leave(*, clean: bool) -> None:
    """End the process here and now, unless its thread has ended.

    The thread is inside torch, loading or computing for nobody. Python would end it in the middle of C++ code, which
    aborts the process; what had to be finished is finished.
    """
    if not clean:
        logging.shutdown()
        os._exit(0)
