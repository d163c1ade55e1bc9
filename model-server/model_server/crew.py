"""Several processes serve one model on one port; this is their parent, which does nothing else.

    parent ── fork ─► front                          probes, scrapes; `loading` to clients while there is no model
       │ load and prove the model
       ├───── fork ─► worker 1 … N                   prove it again, answer requests
       └─ wait: a worker died ─► fork its successor  SIGTERM ─► pass it on, wait for all, exit 0

Each worker has a socket of its own on the port, over which the kernel spreads connections. (With one socket for all,
the first to wake takes all of a burst: measured, 64 of 64.) The parent holds the sockets too, so what has connected to
a worker that died waits for its successor. Once all are leaving it lets go of them, so that a worker that closes its
socket really closes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop

from model_server.board import Board, beat, silence
from model_server.errors import ModelError, Reason
from model_server.front import Front
from model_server.health import Phase
from model_server.listener import bind
from model_server.process import fork, has_one_thread
from model_server.server import Server, clock, leave, listen_to_signals, load_proven, until

if TYPE_CHECKING:
    import socket

    from model_server.door import Door
    from model_server.metrics import Metrics
    from model_server.model import Model
    from model_server.serve import Options

log = logging.getLogger(__name__)

_NEWS = (signal.SIGCHLD, signal.SIGUSR1)  # a process has ended; a worker has become ready
_ORDERS = (signal.SIGTERM, signal.SIGINT)
_CHECK_SECONDS = 5.0
_SILENCE_SECONDS = 30.0
_MAX_STILLBORN = 5
_PAUSE_SECONDS = 0.125  # doubled after each; who starts us again after we gave up has longer ones
_GRACE_SECONDS = 5.0


def serve_together(options: Options, door: Door, count: int) -> None:
    """Serve in so many processes until told to stop; raises ModelError when the model cannot be served."""
    started = clock()
    signal.pthread_sigmask(signal.SIG_BLOCK, _NEWS)
    for number in _ORDERS:
        signal.signal(number, lambda *_: sys.exit(0))  # while there is nothing to drain
    board = Board(options, count)
    with contextlib.ExitStack() as on_exit:
        sockets = [on_exit.enter_context(_bind_first(options))]
        observing = on_exit.enter_context(bind(options.host, options.metrics_port))
        front = Front(options, door, board, observing)
        gc.freeze()  # as after the loading: else collections write to every page that both have
        front.start(sockets)
        on_exit.callback(log.info, "stopped")
        on_exit.callback(front.stop)
        port = sockets[0].getsockname()[1]
        log.info("listening on port %d (requests) and %d (health, metrics)", port, observing.getsockname()[1])
        model, facts = load_proven(options, started)
        if not has_one_thread():
            message = "The model starts threads while it loads, so its process cannot be copied; use --processes 1."
            raise ModelError(Reason.INVALID, message)
        signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)
        sockets += [on_exit.enter_context(bind(options.host, port, shared=True)) for _ in range(count - 1)]
        front.tell(facts)
        Crew(options, door, model=model, board=board, sockets=sockets, front=front).work()


def _bind_first(options: Options) -> socket.socket:
    """Open the port for all; a port that somebody else serves is taken, also if that one would share it."""
    if options.port:
        bind(options.host, options.port).close()
    return bind(options.host, options.port, shared=True)


@dataclass(slots=True)
class Post:
    """A place in the crew: its socket and its row outlive the processes that hold it one after the other."""

    number: int
    socket: socket.socket
    metrics: Metrics
    pid: int = 0
    stillborn: int = 0  # so many in a row died before they were ready
    fill_at: float = 0.0


class Crew:
    """All posts, and what happens to them."""

    def __init__(
        self,
        options: Options,
        door: Door,
        *,
        model: Model,
        board: Board,
        sockets: list[socket.socket],
        front: Front,
    ) -> None:
        self._options = options
        self._door = door
        self._model = model
        self._board = board
        self._front = front
        self._sockets = sockets
        rows = zip(sockets, board.workers, strict=True)
        self._posts = [Post(number, sock, metrics) for number, (sock, metrics) in enumerate(rows, start=1)]
        self._complete = False
        self._deadline: float | None = None  # to leave by
        self._failure: ModelError | None = None

    def work(self) -> None:
        """Keep all posts filled until told to stop, and return when everybody has left."""
        while True:
            self._door.look()
            self._fill()
            if self._deadline is not None and not any(post.pid for post in self._posts):
                break
            order = signal.sigtimedwait((*_NEWS, *_ORDERS), self._patience())
            if order is not None and order.si_signo in _ORDERS:
                self._pass_on(signal.Signals(order.si_signo))
            self._bury()
            self._watch()
            self._announce()
        if self._failure is not None:
            raise self._failure

    # -- come

    def _fill(self) -> None:
        for post in self._posts:
            if post.pid or self._deadline is not None or clock() < post.fill_at:
                continue
            post.metrics.beat.value = clock()
            try:
                post.pid = fork(lambda post=post: self._be(post))  # type: ignore[misc]  # bound now
            except OSError as error:
                log.error("process %d cannot be started: %s", post.number, error.strerror)  # noqa: TRY400  # says all
                self._miss(post)

    def _be(self, post: Post) -> None:
        """Be a worker."""
        self._front.let_go()
        self._door.silent = True
        for sock in self._sockets:
            if sock is not post.socket:
                sock.close()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            clean = runner.run(_serve_requests(self._options, self._door, self._model, self._board, post))
        leave(clean=clean)

    def _announce(self) -> None:
        if self._complete or self._deadline is not None or not self._board.all_ready():
            return
        self._complete = True
        log.info("ready: %s (%s) in %d processes", self._options.name, self._model.digest, len(self._posts))

    # -- go

    def _pass_on(self, order: signal.Signals) -> None:
        """All leave: the workers drain, each for itself, and the front tells probes so."""
        if self._deadline is None:
            log.info("draining: not ready, serving for another %g s", self._options.drain_delay_seconds)
            self._leave()
        else:
            order = signal.SIGINT
        for pid in (*(post.pid for post in self._posts), self._front.pid):
            if pid:
                os.kill(pid, order)

    def _leave(self) -> None:
        options = self._options
        self._deadline = clock() + options.drain_delay_seconds + options.drain_timeout_seconds + _GRACE_SECONDS
        for sock in self._sockets:
            sock.close()

    def _bury(self) -> None:
        """See who has ended; a successor comes at once, or later where one after the other dies."""
        while ended := _reap():
            pid, code = ended
            if pid == self._front.pid:
                self._bury_front(code)
            for post in self._posts:
                if post.pid == pid:
                    self._bury_one(post, code)

    def _bury_front(self, code: int) -> None:
        log.error("the process for probes and scrapes ended (%s)", _told(code))
        self._front.bury()
        if self._deadline is None:  # else: who does not answer is not ready, which is so
            self._front.start(self._sockets)

    def _bury_one(self, post: Post, code: int) -> None:
        was_ready = bool(post.metrics.ready.value)
        post.metrics.bury()
        post.pid = 0
        self._complete = False
        if self._deadline is not None:
            if code:
                log.error("process %d did not leave as it should (%s)", post.number, _told(code))
            return
        log.error("process %d ended (%s); another one takes its place", post.number, _told(code))
        self._board.front.restarts.add()
        if was_ready:
            post.stillborn = 0
        else:
            self._miss(post)

    def _miss(self, post: Post) -> None:
        post.stillborn += 1
        post.fill_at = clock() + _PAUSE_SECONDS * 2**post.stillborn
        if post.stillborn == _MAX_STILLBORN and self._failure is None:
            message = (
                f"Process {post.number} of {len(self._posts)} ends before it is ready, {_MAX_STILLBORN} times in a row;"
                " the log has the cause. Does the memory limit allow that many processes (--processes)?"
            )
            self._failure = ModelError(Reason.INVALID, message)
            self._pass_on(signal.SIGTERM)

    def _watch(self) -> None:
        """End a worker that does not answer any more, and everyone who stays for too long."""
        for post in self._posts:
            late = self._deadline is not None and clock() > self._deadline
            if post.pid and (late or silence(post.metrics) > _SILENCE_SECONDS):
                log.error("process %d does not answer: it is killed", post.number)
                os.kill(post.pid, signal.SIGKILL)

    def _patience(self) -> float:
        now = clock()
        moments = [post.fill_at for post in self._posts if not post.pid and self._deadline is None]
        return max(0.0, min([now + _CHECK_SECONDS, *moments]) - now)


async def _serve_requests(options: Options, door: Door, model: Model, board: Board, post: Post) -> bool:
    """Be a worker until told to stop; False when the model's thread is still busy at the end.

    A second SIGTERM says nothing new: who ends a whole group of processes sends one too, beside the parent's.
    """
    stop, hurry = listen_to_signals(second_hurries=False)
    server = Server(options, door, post.metrics, board.all_ready)
    beating = asyncio.create_task(beat(post.metrics, server.health))
    try:
        await until(stop, server.prove(model))
        if server.health.phase is Phase.READY:
            server.open(post.socket)
            os.kill(os.getppid(), signal.SIGUSR1)
        await stop.wait()
        await server.drain(hurry)
    finally:
        clean = await server.close()
        beating.cancel()
    return clean


def _reap() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
