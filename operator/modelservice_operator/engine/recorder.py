"""Kubernetes Events: a diary for people, next to the work and never in its way.

`record` takes an Event and returns. One task sends them, one after the other. What does not get through is dropped and
counted, since nothing depends on an Event. The same Event about the same object again, within the hour for which the
API server keeps it, is told as one that happened several times. An object that has much to tell is cut short.

Events are made from what was just written (a status, a verdict): a restart, which writes nothing, tells nothing.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol

from modelservice_operator.engine.metrics import EVENTS_DROPPED
from modelservice_operator.kube.errors import KubeError, NotFound
from modelservice_operator.kube.resources import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelservice_operator.kube.resources import Body, Resource

_CONTROLLER: Final = "modelservice.dev/operator"
_WAITING_AT_MOST: Final = 1000
_REMEMBERED: Final = 4096
_KEPT_SECONDS: Final = 3600.0  # by the API server, unless it is told otherwise
_AT_ONCE: Final = 10
_SECONDS_PER_EVENT: Final = 60.0
LONGEST_NOTE: Final = 1024
_FLUSH_SECONDS: Final = 2.0


class EventPort(Protocol):
    """What the recorder needs of the API server."""

    async def create(self, resource: Resource, body: Body) -> Body:
        """Create an object."""

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Body) -> Body:
        """Merge a patch into an object."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, in one word and in a sentence."""

    reason: str
    note: str
    action: str
    """What the operator was at."""
    is_warning: bool = False


class _Waiting(NamedTuple):
    about: Body
    event: Event
    happened: datetime


@dataclass(slots=True)
class _Told:
    name: str
    count: int
    at: float


@dataclass(slots=True)
class _Allowance:
    """A bucket of tokens: one for each Event, filled up over time."""

    left: float
    at: float


class Recorder:
    """Writes Events about objects of ours."""

    def __init__(
        self,
        port: EventPort,
        instance: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`instance` names this process."""
        self._port = port
        self._instance = instance
        self._clock = clock
        self._now = now
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(_WAITING_AT_MOST)
        self._told: OrderedDict[tuple[str, Event], _Told] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    def record(self, about: Body, event: Event) -> None:
        """Have an Event about an object written some time soon, perhaps."""
        if not self._may_tell(about["metadata"]["uid"]):
            EVENTS_DROPPED.labels("TooMany").inc()
        elif self._waiting.full():
            EVENTS_DROPPED.labels("QueueFull").inc()
        else:
            self._waiting.put_nowait(_Waiting(about, event, self._now()))

    async def run(self) -> NoReturn:
        """Write until cancelled."""
        while True:
            waiting = await self._waiting.get()
            try:
                await self._tell(waiting)
            except KubeError as error:
                EVENTS_DROPPED.labels(type(error).__name__).inc()
            finally:
                self._waiting.task_done()

    async def flushed(self) -> None:
        """Wait until all is written, but not for long."""
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            EVENTS_DROPPED.labels("Stopped").inc(self._waiting.qsize())

    async def _tell(self, waiting: _Waiting) -> None:
        about, event, happened = waiting
        metadata, key = about["metadata"], (about["metadata"]["uid"], event)
        told, moment = self._told.pop(key, None), _stamp(happened)
        if told is not None and self._clock() - told.at < _KEPT_SECONDS:
            series = {"count": told.count + 1, "lastObservedTime": moment}
            try:
                await self._port.merge(EVENTS, metadata["namespace"], told.name, {"series": series})
            except NotFound:
                pass  # it has expired
            else:
                self._remember(key, _Told(told.name, told.count + 1, self._clock()))
                return
        name = f"{metadata['name']}.{uuid.uuid4().hex[:16]}"
        await self._port.create(EVENTS, self._body(about, event, name, moment))
        self._remember(key, _Told(name, 1, self._clock()))

    def _body(self, about: Body, event: Event, name: str, moment: str) -> Body:
        metadata = about["metadata"]
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": metadata["namespace"], "name": name},
            "eventTime": moment,
            "reportingController": _CONTROLLER,
            "reportingInstance": self._instance,
            "action": event.action,
            "reason": event.reason,
            "note": _short(event.note),
            "type": "Warning" if event.is_warning else "Normal",
            "regarding": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }

    def _remember(self, key: tuple[str, Event], told: _Told) -> None:
        self._told[key] = told
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)

    def _may_tell(self, uid: str) -> bool:
        """Tell whether an object may have another Event: ten at once, then one a minute."""
        now = self._clock()
        known = self._allowances.pop(uid, None) or _Allowance(_AT_ONCE, now)
        left = min(_AT_ONCE, known.left + (now - known.at) / _SECONDS_PER_EVENT)
        may = left >= 1
        self._allowances[uid] = _Allowance(left - 1 if may else left, now)
        if len(self._allowances) > _REMEMBERED:
            self._allowances.popitem(last=False)
        return may


def _short(note: str) -> str:
    """Cut a note to what the API server takes, in bytes."""
    encoded = note.encode()
    return note if len(encoded) <= LONGEST_NOTE else encoded[: LONGEST_NOTE - 4].decode(errors="ignore") + " ..."


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
