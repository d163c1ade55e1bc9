"""Events get out in order, are counted when they come again, and stop nobody."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelservice_operator.engine.recorder import Event, Recorder
from modelservice_operator.kube.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelservice_operator.kube.resources import Body, Resource

CRASH, READY = Event("CrashLoop", "It crashes.", "Reconcile", is_warning=True), Event("Ready", "Well.", "Reconcile")


def about(name: str = "m") -> Body:
    metadata = {"namespace": "ml", "name": name, "uid": f"uid-{name}", "resourceVersion": "7"}
    return {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": metadata}


class Server:
    """Remembers what it was sent; may fail, or have forgotten everything."""

    def __init__(self) -> None:
        self.events: dict[str, Body] = {}
        self.fails = False

    async def create(self, resource: Resource, body: Body) -> Body:
        assert str(resource) == "events.events.k8s.io"
        if self.fails:
            raise Unavailable("away")
        self.events[body["metadata"]["name"]] = body
        return body

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Body) -> Body:
        del resource, namespace
        if name not in self.events:
            raise NotFound("expired")
        self.events[name] |= patch
        return self.events[name]

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(each["reason"], each.get("series", {"count": 1})["count"]) for each in self.events.values()]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def recording(server: Server, clock: Clock | None = None) -> AsyncIterator[Recorder]:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    recorder = Recorder(server, "operator-0", clock=clock or Clock(), now=lambda: moment)
    task = asyncio.create_task(recorder.run())
    yield recorder
    await recorder.flushed()
    task.cancel()


async def test_an_event_says_what_about_whom_and_when() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.record(about(), CRASH)
    (event,) = server.events.values()
    assert event["metadata"]["name"].startswith("m.")
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "CrashLoop", "It crashes.")
    assert event["regarding"]["uid"] == "uid-m"


async def test_what_happens_again_is_counted() -> None:
    server = Server()
    async with recording(server) as recorder:
        for event in (CRASH, READY, CRASH, CRASH):
            recorder.record(about(), event)
        recorder.record(about("other"), CRASH)
    assert server.told == [("CrashLoop", 3), ("Ready", 1), ("CrashLoop", 1)]


async def test_what_happened_long_ago_or_was_forgotten_is_told_anew() -> None:
    server, clock = Server(), Clock()
    async with recording(server, clock) as recorder:
        recorder.record(about(), CRASH)
        await recorder.flushed()
        clock.now += 4000
        recorder.record(about(), CRASH)
        await recorder.flushed()
        assert server.told == [("CrashLoop", 1), ("CrashLoop", 1)]
        server.events.clear()
        recorder.record(about(), CRASH)
    assert server.told == [("CrashLoop", 1)]


async def test_an_object_with_much_to_tell_is_cut_short_and_others_are_not() -> None:
    server, clock = Server(), Clock()
    async with recording(server, clock) as recorder:
        for number in range(50):
            recorder.record(about(), Event("CrashLoop", f"{number}", "Reconcile"))
        recorder.record(about("other"), READY)
        await recorder.flushed()
        assert len(server.events) == 11
        clock.now += 120
        for number in range(50, 60):
            recorder.record(about(), Event("CrashLoop", f"{number}", "Reconcile"))
    assert len(server.events) == 13


async def test_an_outage_loses_events_and_nothing_else() -> None:
    server = Server()
    async with recording(server) as recorder:
        server.fails = True
        recorder.record(about(), CRASH)
        await recorder.flushed()
        server.fails = False
        recorder.record(about(), READY)
    assert server.told == [("Ready", 1)]


async def test_a_queue_that_is_full_takes_no_more_and_stops_nobody() -> None:
    recorder = Recorder(Server(), "operator-0", clock=Clock())  # nobody writes
    for number in range(2000):
        recorder.record(about(f"m{number}"), READY)
    assert recorder._waiting.full()


async def test_a_long_note_is_cut_to_what_the_api_server_takes() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.record(about(), Event("CrashLoop", "ä" * 2000, "Reconcile"))
    (event,) = server.events.values()
    assert len(event["note"].encode()) <= 1024
