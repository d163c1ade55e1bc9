"""A reverse proxy between the operator and the real API server that makes a chosen write, or what it causes, go wrong.

Every write has a name: the step of the service's life, verb, object, and how often that was written in the step
(`change: apply deployments/m-abc #2`). An Event is named by what it tells of (`create events/Ready of m`), since its
own name is made up. A plan says for each namespace which of the writes meet which fault.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import ssl
from collections import Counter, defaultdict, deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

_TARGET = re.compile(
    r"/apis?/(?:[^/]+/)?[^/]+/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?$"
)
_SERVICES, _LINES, _CHILDREN = "modelservices", "controllerrevisions", "all other kinds"
_VERBS = {"POST": "create", "PATCH": "apply", "PUT": "replace", "DELETE": "delete"}
_BEATS = "leases"  # the one thing that is written for ever, where an operator is not the only one
_SILENT_SECONDS = 4.0  # longer than the operator under test waits for an answer: see impatient_operator.py
_LAG_SECONDS = 1.5
# After how many lags the watches of a process that starts on old lists tell more: the orders take turns.
_ORDERS = ({_LINES: 1, _CHILDREN: 1}, {_CHILDREN: 1, _LINES: 2, _SERVICES: 3}, {_LINES: 1, _CHILDREN: 2})
_LOST_SECONDS = 0.4
_REMEMBERED_EVENTS = 200
_PASSED_ON = ("Accept", "Authorization", "Content-Type")


class Fault(Enum):
    """What can go wrong at a write."""

    CRASH_BEFORE = "the operator is killed before the write arrives"
    CRASH_AFTER = "the operator is killed after the write, before the answer"
    STALE = "the operator is killed after the write, and starts on lists from before the step, late for what came then"
    CONFLICT = "409"
    THROTTLED = "429 with Retry-After"
    ERROR = "500"
    UNAVAILABLE = "503"
    TIMEOUT = "the write is carried out and nobody answers"
    CUT = "all watches break"
    GONE = "all watches end with 410"
    LOST = "the events that follow are lost, then all watches end with 410"
    REPEATED = "all events of the namespace are told again, old ones after new ones"
    LATE_CHILDREN = "the watches of the children lag behind"
    LATE_SERVICES = "the watch of the ModelServices lags behind"

    @property
    def crashes(self) -> bool:
        """Tell whether the operator dies of it."""
        return self in {Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.STALE}


_REFUSALS = {
    Fault.CONFLICT: (409, "Conflict", {}),
    Fault.THROTTLED: (429, "TooManyRequests", {"Retry-After": "1"}),
    Fault.ERROR: (500, "InternalError", {}),
    Fault.UNAVAILABLE: (503, "ServiceUnavailable", {}),
}


class Write(NamedTuple):
    """One write of the operator, by name."""

    step: str
    name: str


class Sent(NamedTuple):
    """A write as it was sent, for those who replay it."""

    method: str
    path: str
    content_type: str
    body: bytes


@dataclass(eq=False)
class _Stream:
    """One watch on its way through."""

    plural: str
    response: web.StreamResponse
    task: asyncio.Task[object]
    gone: bool = False
    lost: bool = False
    told: dict[str, deque[bytes]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_REMEMBERED_EVENTS)))


class FaultProxy:
    """Passes everything on, but for what the plan says. Listens on plain HTTP; speaks TLS to the server."""

    def __init__(self, server: str, authority: Path) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._streams: set[_Stream] = set()
        self._late: dict[str, float] = {}
        self._orders = itertools.cycle(_ORDERS)
        self._stale: dict[str, bytes] = {}
        self._kept: dict[str, bytes] = {}
        self._asked: dict[str, dict[str, str]] = {}  # the lists that the operator asks for, with its headers
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._steps: dict[str, str] = {}
        self._dead = asyncio.Event()
        self.plans: dict[str, dict[Write, Fault]] = defaultdict(dict)
        self.hits: set[tuple[Write, Fault]] = set()
        self.writes: list[tuple[str, Write]] = []
        """Every write that was sent anywhere, with its namespace, in order; but for the renewals of a Lease."""
        self.sent: list[Sent] | None = None
        """What was sent, in full, once somebody sets it to a list."""
        self.victims = 0
        """How many requests wait for the operator's death."""
        self.starts_stale = False
        self.port = 0

    # -- for the story

    @property
    def url(self) -> str:
        """Where the operator finds the API server."""
        return f"http://127.0.0.1:{self.port}"

    def begin(self, step: str, namespaces: Mapping[str, object] | list[str]) -> None:
        """Count the writes of these namespaces anew, under the name of a step."""
        for namespace in namespaces:
            self._steps[namespace] = step
            self._counts[namespace].clear()

    async def keep_lists(self) -> None:
        """Remember what every list that the operator has asked for says now."""
        self._kept.clear()
        for path, headers in list(self._asked.items()):
            async with self._http.get(self._server + path, headers=headers, ssl=self._tls) as answer:
                if answer.ok:
                    self._kept[path] = await answer.read()

    def killed(self) -> None:
        """Let go of the requests of an operator that is dead; none of them goes on."""
        self._stale = {}
        if self.starts_stale:
            self._stale = dict(self._kept)
            self._fall_behind(next(self._orders))
        self.starts_stale = False
        self.victims = 0
        self._dead.set()
        self._dead = asyncio.Event()

    async def meet(self, write: Write, fault: Fault, namespace: str) -> None:
        """Let a fault happen beside a write: to the watches."""
        self.hits.add((write, fault))
        loop = asyncio.get_running_loop()
        match fault:
            case Fault.CUT:
                self._end_streams(gone=False)
            case Fault.GONE:
                self._end_streams(gone=True)
            case Fault.LOST:
                for stream in self._streams:
                    stream.lost = True
                loop.call_later(_LOST_SECONDS, self._end_streams_that_lost)
            case Fault.REPEATED:
                for stream in list(self._streams):
                    for line in list(stream.told[namespace]):
                        with suppress(ConnectionError, RuntimeError):
                            await stream.response.write(line)
            case Fault.LATE_CHILDREN:
                self._fall_behind(_ORDERS[0])
            case Fault.LATE_SERVICES:
                self._fall_behind({_SERVICES: 1})
            case _:
                raise AssertionError(fault)

    # -- requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method == "GET":
            return await self._read(request)
        target = _TARGET.match(request.path)
        if target is not None and target["plural"] == _BEATS:
            return await self._forward(request, body)
        return await self._write(request, body, target)

    async def _write(self, request: web.Request, body: bytes, target: re.Match[str] | None) -> web.StreamResponse:
        namespace = target["namespace"] if target is not None else ""
        if self.sent is not None:
            self.sent.append(Sent(request.method, request.raw_path, request.headers.get("Content-Type", ""), body))
        what = _title(request, body, target)
        self._counts[namespace][what] += 1
        write = Write(self._steps.get(namespace, ""), f"{what} #{self._counts[namespace][what]}")
        self.writes.append((namespace, write))
        fault = self.plans[namespace].pop(write, None)
        if fault is None:
            return await self._forward(request, body)
        self.hits.add((write, fault))
        match fault:
            case Fault.CRASH_BEFORE:
                return await self._die(request)
            case Fault.CRASH_AFTER | Fault.STALE:
                await self._forward(request, body)
                self.starts_stale |= fault is Fault.STALE
                return await self._die(request)
            case Fault.TIMEOUT:
                await self._forward(request, body)
                await asyncio.sleep(_SILENT_SECONDS)
                return _hang_up(request)
            case Fault.CONFLICT | Fault.THROTTLED | Fault.ERROR | Fault.UNAVAILABLE:
                code, reason, headers = _REFUSALS[fault]
                status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "A fault."}
                return web.json_response(status, status=code, headers=headers)
        await self.meet(write, fault, namespace)
        return await self._forward(request, body)

    async def _die(self, request: web.Request) -> web.StreamResponse:
        dead = self._dead
        self.victims += 1
        await dead.wait()
        return _hang_up(request)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        if "limit" in request.query and not _TARGET.match(request.path):  # an informer's; a closer look sees what is
            whole = request.rel_url.without_query_params("limit", "continue")
            self._asked[str(whole)] = _passed_on(request)
            if stale := self._stale.pop(str(whole), None):
                return web.Response(body=stale, content_type="application/json")
        return await self._forward(request, b"")

    async def _forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        url = self._server + request.raw_path
        async with self._http.request(
            request.method, url, data=body or None, headers=_passed_on(request), ssl=self._tls
        ) as answer:
            text = await answer.read()
        passed_on = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
        return web.Response(status=answer.status, body=text, headers=passed_on)

    # -- watches

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.rsplit("/", 1)[-1]
        url = self._server + request.raw_path
        async with self._http.get(url, headers=_passed_on(request), ssl=self._tls) as answer:
            if answer.status != 200:
                return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            task = asyncio.current_task()
            assert task is not None
            stream = _Stream(plural, response, task)
            self._streams.add(stream)
            try:
                with suppress(ConnectionError, aiohttp.ClientError):
                    await self._pump(answer, stream)
            except asyncio.CancelledError:
                if stream.gone:
                    gone = {
                        "kind": "Status",
                        "status": "Failure",
                        "code": 410,
                        "reason": "Expired",
                        "message": "A fault.",
                    }
                    with suppress(ConnectionError, RuntimeError):
                        await response.write(orjson.dumps({"type": "ERROR", "object": gone}) + b"\n")
                else:
                    _hang_up(request)
            finally:
                self._streams.discard(stream)
            return response

    async def _pump(self, answer: aiohttp.ClientResponse, stream: _Stream) -> None:
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                await self._tell(stream, line + b"\n")

    async def _tell(self, stream: _Stream, line: bytes) -> None:
        group = stream.plural if stream.plural in {_SERVICES, _LINES} else _CHILDREN
        while (wait := self._late.get(group, 0.0) - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 (a time, no event, is waited for)
            await asyncio.sleep(wait)
        if stream.lost:
            return
        event = orjson.loads(line)
        namespace = event["object"].get("metadata", {}).get("namespace")
        if namespace in self._steps and event["type"] != "BOOKMARK":
            stream.told[namespace].append(line)
        await stream.response.write(line)

    def _fall_behind(self, lags: Mapping[str, int]) -> None:
        now = asyncio.get_running_loop().time()
        self._late |= {group: now + number * _LAG_SECONDS for group, number in lags.items()}

    def _end_streams(self, *, gone: bool) -> None:
        for stream in self._streams:
            stream.gone = gone
            stream.task.cancel()

    def _end_streams_that_lost(self) -> None:
        for stream in [stream for stream in self._streams if stream.lost]:
            stream.gone = True
            stream.task.cancel()

    # -- life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultProxy]:
        """Listen while the block runs."""
        pages = web.Application(client_max_size=10 * 1024**2)
        pages.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(pages, access_log=None, shutdown_timeout=0.1)
        limits = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=limits, connector=aiohttp.TCPConnector(limit=0)) as self._http:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            try:
                yield self
            finally:
                self.killed()
                self._end_streams(gone=False)
                await runner.cleanup()


def _passed_on(request: web.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in _PASSED_ON if name in request.headers}


def _title(request: web.Request, body: bytes, target: re.Match[str] | None) -> str:
    """Name a write by verb and object, so that the same write of another life has the same name."""
    if target is None:
        return f"{request.method} {request.path}"
    verb = target["sub"] or _VERBS[request.method]
    if target["plural"] == "events":
        told: dict[str, Any] = orjson.loads(body or b"{}")
        about = told.get("involvedObject") or told.get("regarding") or {}
        return f"{verb} events/{told.get('reason', 'again')} of {about.get('name', 'the same')}"
    return f"{verb} {target['plural']}/{target['name']}"


def _hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
