"""One HTTP/1.1 connection: uvicorn's protocol with limits, and a hot path for inference that passes ASGI by.

    bytes ─► parser ─┬─ POST …/infer ──► Exchange ────────────────► handler ─► one write
                     └─ anything else ─► uvicorn's cycle ─► ASGI ─► the same handlers

ASGI costs a task, an event and a dozen objects per request: two thirds of what a small model's request costs in all
(measured: 14k requests/s against 42k). Answers leave in the order of the requests: one exchange runs, those behind it
wait in uvicorn's `pipeline`, and nothing more is read until they have had their turn, nor is a next one begun while
the client does not read its answers. uvicorn's accounting holds for both ways, so its shutdown loses neither.

Time limits are checked once a second by `sweep` and need no timer per request.

uvicorn promises nothing about what this class uses of it, so its version is pinned exactly, and a new one comes in by
passing tests/server. Used are the parser's callbacks, `cycle` and `pipeline` (the newest request, those before it),
`_start_asgi_task`, `flow`, `STATUS_LINE`, and of a cycle `response_complete`, `disconnected`, `more_body`, `scope` and
`message_event`. A server of our own instead would have to get sockets, TLS and shutdown right once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import math
import random
import termios
from array import array
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from model_server.errors import RequestError
from model_server.exchange import JSON_LENGTH, Request, error_response, number_of_bytes

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from uvicorn import Config
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from model_server.door import Door
    from model_server.exchange import Handler, Pending, Response
    from model_server.limits import Limits

    Cycle: TypeAlias = "Exchange | RequestResponseCycle"

log = logging.getLogger(__name__)

# Longer than clients keep idle connections (Go 90 s, nginx 60 s, aiohttp 15 s by default): when the server is the one
# to close, a request that is already on its way is lost.
KEEP_ALIVE_SECONDS = 95
MAX_HEAD_BYTES = 64 * 1024
LINGER_SECONDS = 2
_SMALL_BYTES = 16 * 1024
_STRANGERS_BYTES = 64 * 1024
_ALIGNMENT = 16  # of the memory that Python gives, and more than any datatype asks for

_UPGRADE = (b"connection", b"upgrade", b"http2-settings")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the connections of one listener share; without `fast` all requests go through ASGI."""

    handle: Handler
    closing: Callable[[], bool]
    limits: Limits
    clock: Callable[[], float]
    door: Door
    fast: bool

    def most_body_bytes(self, *, known: bool) -> int:
        """Return how much of a body is read: of strangers only so much that their connection can be kept."""
        most = self.limits.max_body_bytes
        return most if known else min(most, _STRANGERS_BYTES)


class State(ServerState):
    """uvicorn's state, with the headers of every answer also as they are written."""

    head = b""

    def write_out_headers(self) -> None:
        """Renew them; to be called when they have changed."""
        self.head = b"".join(b"%s: %s\r\n" % header for header in self.default_headers)


class Exchange:
    """One request on the hot path; `response_complete` and `message_event` are what uvicorn asks of its cycles."""

    __slots__ = (
        "arrived",
        "chunks",
        "complete",
        "disconnected",
        "expects_continue",
        "headers",
        "keep_alive",
        "most_bytes",
        "path",
        "pending",
        "problem",
        "response_complete",
        "size",
    )
    message_event = asyncio.Event()  # nobody waits for it

    def __init__(
        self,
        path: str,
        headers: list[tuple[bytes, bytes]],
        arrived: float,
        *,
        keep_alive: bool = False,
        expects_continue: bool = False,
        most_bytes: int = 0,
        problem: RequestError | None = None,
    ) -> None:
        self.path = path
        self.headers = headers
        self.arrived = arrived
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.most_bytes = most_bytes
        self.problem = problem  # so far only of its sender; the body is not kept then
        self.chunks: list[bytes | bytearray] = []
        self.size = 0
        self.complete = False  # read to its end, or refused
        self.pending: Pending | None = None
        self.response_complete = False
        self.disconnected = False

    def add(self, piece: bytes) -> None:
        """Keep a piece of the body; many small ones share an object, which would else be larger than they are."""
        self.size += len(piece)
        if self.problem is not None:
            return
        last = self.chunks[-1] if self.chunks else None
        if isinstance(last, bytearray) and len(last) < _SMALL_BYTES:
            last += piece
        else:
            self.chunks.append(bytearray(piece) if last is not None and len(piece) < _SMALL_BYTES else piece)

    def body(self) -> bytes | memoryview:
        """Return the whole body and forget it.

        A large one lies so that a model can work in it: its tensors are aligned, and may be written to.
        """
        chunks, self.chunks = self.chunks, []
        if len(chunks) == 1:
            return bytes(chunks[0])  # bytes of bytes are no copy
        length = next((value for name, value in self.headers if name == JSON_LENGTH), b"")
        skew = -(number_of_bytes(length) or 0) % _ALIGNMENT
        return memoryview(bytearray().join((bytes(skew), *chunks)))[skew:]

    def refuse(self, problem: RequestError) -> None:
        """Read no more of it, and close after the answer: what follows cannot be told from a next request."""
        self.problem = self.problem or problem
        self.complete = True
        self.keep_alive = False
        self.chunks.clear()

    def declared_bytes(self) -> int:
        """Return the length of the body where it was announced."""
        return next((int(value) for name, value in self.headers if name == b"content-length"), 0)


class _Flow(FlowControl):
    """Reads on only when no request waits for its turn."""

    def __init__(self, transport: asyncio.Transport, pipeline: deque[Any]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """Reads requests, runs them in order, writes answers."""

    server_state: State

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        terms: Terms,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._terms = terms
        self._running: Cycle | None = None
        self._in_head = True  # the next byte belongs to a head
        self._head_begun = False
        self._undigested = 0  # bytes since the last head or piece of a body was complete
        self._deaf = False  # whatever still comes is thrown away
        self._delivered = False  # so it was at the last look at a connection that is being closed
        self._since = self.loop.time()  # the present station's begin: idle, head, body, farewell
        self._unsent = 0
        self._sent_at = self._since
        age = terms.limits.max_connection_age_seconds or math.inf
        self._grows_old_at = self._since + age * random.uniform(0.5, 1)  # noqa: S311  # not all clients at once

    # -- reading

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)

    def data_received(self, data: bytes) -> None:
        """Parse; what the parser finds is answered from its callbacks."""
        if self._deaf:
            return
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse(_problem(error))
        else:
            running = self._running
            if self._undigested > MAX_HEAD_BYTES:  # a head, or trailers, without end
                self._refuse(_head_too_large())
            elif isinstance(running, Exchange) and not running.complete:
                self._expect_body(running)

    def _feed(self, data: bytes) -> bytes:
        """Parse; return what is to be parsed anew: a request that would be an upgrade, without the offer."""
        self._undigested += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        return b""

    def on_message_begin(self) -> None:
        """Note when a head begins."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._head_begun = True
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers behind a chunked body are none."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Send a request on its way: the short one, or uvicorn's."""
        if self._undigested > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            raise _head_too_large()
        if self.parser.should_upgrade():
            return  # the parser stops here and tells so
        self._in_head = self._head_begun = False
        self._undigested = 0
        if self._deaf or self.transport.is_closing():
            return
        url = self.url
        if self._terms.fast and url.endswith(b"/infer") and self.parser.get_method() == b"POST" and _is_plain(url):
            keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() == "1.1"
            path = url.decode("ascii")
            stranger = self._terms.door.refusal(path, self.headers)
            self._enter(
                Exchange(
                    path,
                    self.headers,
                    self._terms.clock(),
                    keep_alive=keep_alive,
                    expects_continue=self.expect_100_continue,
                    most_bytes=self._terms.most_body_bytes(known=stranger is None),
                    problem=stranger,
                )
            )
        else:
            headers, expects_continue = self.headers, self.expect_100_continue
            super().on_message_begin()  # makes the scope, which only this way needs
            self.scope["state"]["connection"] = self
            self.url, self.expect_100_continue = url, expects_continue
            self.headers[:] = headers
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body, within the limit."""
        self._undigested = 0
        exchange = cast("Cycle", self.cycle)
        if not isinstance(exchange, Exchange):
            super().on_body(body)
        elif not exchange.complete:
            if exchange.size + len(body) > exchange.most_bytes:
                self._give_up(exchange, _body_too_large(self._terms.limits))
            else:
                exchange.add(body)

    def on_message_complete(self) -> None:
        """Hand a request over when it is read, if it is its turn."""
        if self._in_head:
            return  # an upgrade, which the parser ends where the body begins
        self._in_head = True
        self._undigested = 0
        exchange = cast("Cycle", self.cycle)
        if not isinstance(exchange, Exchange):
            super().on_message_complete()
        elif not exchange.complete:
            exchange.complete = True
            if exchange is self._running:
                self._hand_over(exchange)

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Write a request anew that offers to go on in another protocol (Java's client makes one, with a body)."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(RequestError(405, "This is no proxy."))
            return b""
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % (name, value) for name, value in self.headers if name not in _UPGRADE]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            lines.append(b"connection: close")
        return b"\r\n".join((*lines, b"", rest))

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _expect_body(self, exchange: Exchange) -> None:
        """Refuse a large body before it comes, or give the leave that the client waits for, if it is known."""
        if exchange.declared_bytes() > exchange.most_bytes or (exchange.problem and exchange.expects_continue):
            self._give_up(exchange, _body_too_large(self._terms.limits))
        elif exchange.expects_continue:
            exchange.expects_continue = False
            self.transport.write(_CONTINUE)

    def _give_up(self, exchange: Exchange, problem: RequestError) -> None:
        self._deaf = True
        exchange.refuse(problem)
        if exchange is self._running:
            self._hand_over(exchange)

    def _refuse(self, problem: RequestError) -> None:
        """Answer what is no request, after those before it, and close."""
        if self._deaf or self.transport.is_closing():
            return  # something before it has been the last
        self._deaf = True
        newest = cast("Cycle | None", self.cycle)
        if isinstance(newest, Exchange) and not newest.complete:
            self._give_up(newest, problem)  # in the middle of its body
        elif newest is not None and not isinstance(newest, Exchange) and newest.more_body:
            newest.scope["state"]["problem"] = problem  # the same where ASGI reads the body
            newest.more_body = False
            newest.message_event.set()
        else:
            refused = Exchange("", [], self._terms.clock())
            refused.refuse(problem)
            self._enter(refused)

    # -- one exchange after the other

    def _enter(self, exchange: Exchange) -> None:
        newest = cast("Cycle | None", self.cycle)
        self.cycle = cast("RequestResponseCycle", exchange)
        if (newest is None or newest.response_complete) and not self.flow.write_paused:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        exchange = cast("Cycle", cycle)
        self._running = exchange
        if not isinstance(exchange, Exchange):
            super()._start_asgi_task(cycle, app)
        elif exchange.complete:
            self._hand_over(exchange)
        elif self.flow.read_paused:  # it waited in the pipeline
            self.flow.resume_reading()
            self._since = self.loop.time()
            self._expect_body(exchange)

    def _hand_over(self, exchange: Exchange) -> None:
        reply = partial(self._reply, exchange)
        if not exchange.path and exchange.problem is not None:
            reply(error_response(exchange.problem))
            return
        request = Request("POST", exchange.path, exchange.headers, exchange.body(), exchange.arrived, exchange.problem)
        pending = self._terms.handle(request, reply)
        if not exchange.response_complete:
            exchange.pending = pending

    def _reply(self, exchange: Exchange, response: Response) -> None:
        exchange.response_complete = True
        exchange.pending = None
        if exchange is not self._running:
            return  # the client has gone
        close = not exchange.keep_alive or self.should_close()
        parts = [STATUS_LINE[response.status], self.server_state.head]
        parts += [b"%s: %s\r\n" % header for header in response.headers]
        parts.append(b"content-length: %d\r\n" % len(response.body))
        parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
        parts.append(response.body)
        self.transport.write(b"".join(parts))
        self.server_state.total_requests += 1
        self._running = None
        if close:
            self._say_farewell()
        else:
            self._go_on()

    def on_response_complete(self) -> None:
        """Hear that uvicorn's cycle has answered."""
        self.server_state.total_requests += 1
        self._running = None
        self._since = self.loop.time()
        if not self.transport.is_closing():
            self._go_on()

    def _go_on(self) -> None:
        self._since = self.loop.time()
        if self.flow.write_paused:
            return  # until the client has read what it was sent
        if self.pipeline:
            self.loop.call_soon(self._start_next)  # not a call: a long pipeline would be a deep stack
        else:
            self.flow.resume_reading()

    def _start_next(self) -> None:
        if self._running is None and self.pipeline and not self.transport.is_closing():
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            self.flow.resume_reading()

    # -- the end

    def should_close(self) -> bool:
        """Say whether the client should go on elsewhere; not before what it has sent meanwhile is answered."""
        if self.pipeline or self._head_begun:
            return False
        return self._terms.closing() or self.loop.time() > self._grows_old_at

    def _say_farewell(self) -> None:
        """Close; but where the client may still be sending, first hear it out: a reset would destroy the answer."""
        self.pipeline.clear()
        self._since = self.loop.time()
        if not self._deaf:
            self.transport.close()
            return
        if self.transport.can_write_eof():  # TLS cannot; there the answer's length tells its end
            self.transport.write_eof()
        self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what runs: nobody waits for it."""
        running, self._running = self._running, None
        self.pipeline.clear()
        super().connection_lost(exc)
        if isinstance(running, Exchange):
            if running.pending is not None:
                running.pending.cancel()
        elif running is not None:
            running.disconnected = True
            running.message_event.set()

    def shutdown(self) -> None:
        """Take part in uvicorn's shutdown: a head that has begun to arrive is still answered."""
        if not self._head_begun:
            self._since = self.loop.time()
            super().shutdown()

    # -- a client that does not read

    def resume_writing(self) -> None:
        """Go on with those that waited for it."""
        super().resume_writing()
        if self._running is None and not self.transport.is_closing():
            self._go_on()

    def sweep(self, now: float) -> None:
        """End what takes too long; called once a second."""
        patience = self._terms.limits.request_timeout_seconds
        waited = now - self._since
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent:
            self._sent_at = now
        self._unsent = unsent
        if unsent and now - self._sent_at > patience:
            self.transport.abort()  # the client reads nothing
        elif self._running is not None:
            self._await_body(self._running, waited)
        elif self.transport.is_closing():
            self._take_leave(waited)
        elif self._deaf:
            if waited > LINGER_SECONDS and not unsent:
                self.transport.abort()
        elif self._head_begun:
            if waited > patience:
                self._refuse(RequestError(408, f"The request's head did not arrive within {patience:g} seconds."))
        elif waited > KEEP_ALIVE_SECONDS:
            self.transport.close()

    def _await_body(self, running: Cycle, waited: float) -> None:
        """Give up a body that is late; one that ASGI reads is given up there."""
        patience = self._terms.limits.request_timeout_seconds
        if isinstance(running, Exchange) and not running.complete and waited > patience:
            message = f"The request's body did not arrive within {patience:g} seconds."
            self._give_up(running, RequestError(408, message))

    def _take_leave(self, waited: float) -> None:
        """Over TLS a client is to say goodbye, too; leave those that have everything and do not.

        What they have is asked of the kernel, as a TLS transport does not tell what waits in the one below it. That may
        be on its way into an empty queue of the kernel at one look, but not at the next as well.
        """
        was_delivered, self._delivered = self._delivered, _unacknowledged_bytes(self.transport) == 0
        if was_delivered and self._delivered and waited > LINGER_SECONDS:
            self.transport.abort()


def _unacknowledged_bytes(transport: asyncio.Transport) -> int:
    """Return how much of what the kernel was given to send the client's machine has not confirmed."""
    answer = array("i", [0])
    if (socket := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):  # it is just being lost
            fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, answer)
    return answer[0]


@lru_cache(maxsize=64)  # clients ask for the same few
def _is_plain(url: bytes) -> bool:
    """Say whether a URL is a path as it stands: nothing escaped, no query, no host."""
    return url.startswith(b"/") and url.isascii() and not any(sign in url for sign in (b"%", b"?", b"#"))


def _problem(error: httptools.HttpParserError) -> RequestError:
    """Say what was wrong with bytes that the parser, or a callback of it, could not take."""
    cause = error.__context__
    if isinstance(cause, RequestError):
        return cause
    if cause is None or isinstance(cause, httptools.HttpParserError | UnicodeDecodeError):
        return RequestError(400, "This is not HTTP/1.1.")
    log.error("a request could not be read", exc_info=cause)
    return RequestError(500, "The server failed on this request; its log has the cause.")


def _head_too_large() -> RequestError:
    return RequestError(431, f"The request's head is larger than the {MAX_HEAD_BYTES} bytes that are let in.")


def _body_too_large(limits: Limits) -> RequestError:
    return RequestError(413, f"The request's body is larger than the {limits.max_body_bytes} bytes that are let in.")
