"""What the operator reads of real servers is what they were asked; pods that misbehave harm nobody else."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from modelservice_operator.engine.scrape import ScrapeError, Scraper
from modelservice_operator.engine.store import Key
from modelservice_operator.monitoring.readings import Pod, Reading
from modelservice_operator.monitoring.targets import Target
from modelservice_operator.readings import Readings
from modelservice_operator.slo.metrics import TORCH, Metrics
from server.support import Connection, Server, column, echo_directory, running
from waiting import PATIENCE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from modelservice_operator.readings import Look

KEY = Key("ml", "m")
SINCE, BEFORE, AFTER = "2026-01-01T00:01:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z"
INFER = "/v2/models/m/infer"
PAUSE_SECONDS = 0.06
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, PATIENCE_SECONDS)  # of the server's, from that of the pause on


class Reader:
    """Readings at work, and whom they have woken."""

    def __init__(self, scraper: Scraper | None = None) -> None:
        self.now = 0.0
        self.readings = Readings(scraper or Scraper(), clock=lambda: self.now, every_seconds=0.02)
        self.woken: list[Key] = []

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Reader]:
        def wake(keys: Iterable[Key] | None) -> None:
            self.woken += keys or ()

        work = asyncio.create_task(self.readings.run(wake))
        try:
            yield self
        finally:
            work.cancel()
            await asyncio.wait([work])
            assert work.cancelled(), work.exception()

    async def until(self, condition: Callable[[dict[str, Reading]], bool], key: Key = KEY) -> dict[str, Reading]:
        """Wait until the readings of a service are as they should be, and return them."""
        (found,) = await eventually(lambda: (found,) if condition(found := dict(self.readings.of(key))) else None)
        return found


def target(server: Server, name: str = "m-1-x", revision: str = "m-1", started: str = BEFORE) -> Target:
    return Target(Pod(name, revision, started), f"http://127.0.0.1:{server.metrics_port}/metrics", TORCH)


def ask(server: Server, *bodies: bytes) -> list[float]:
    """Ask one after the other; return how long each took."""
    seconds = []
    for body in bodies:
        start = time.monotonic()
        server.post(INFER, body)
        seconds.append(time.monotonic() - start)
    return seconds


async def test_readings_are_what_servers_were_asked_across_births_and_restarts(tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "m", pause_seconds=PAUSE_SECONDS, unlucky=13)
    good, unlucky, wrong = column(1), column(13), b"{}"
    async with Reader().at_work() as reader:
        with running(directory, "--processes", "2") as old:
            await asyncio.to_thread(ask, old, *[good] * 3, *[unlucky] * 2)  # before somebody wanted to know
            reader.readings.want(KEY, SINCE, [target(old)])
            assert (await reader.until(bool))["m-1"].requests == 0
            seconds = await asyncio.to_thread(ask, old, *[good] * 20, *[unlucky] * 4, *[wrong] * 3)
            reading = (await reader.until(lambda found: found["m-1"].requests == 27))["m-1"]
        assert (reading.errors, reading.error_rate, reading.pods, reading.silent) == (4, 4 / 27, 1, ())
        assert (reading.inflight, reading.waiting) == (0, 0)
        slowest = sorted(seconds)[-1 - len(seconds) // 20]  # a client's time is no shorter than the server's
        assert reading.p95_seconds is not None
        assert BOUNDS[0] <= reading.p95_seconds <= min(bound for bound in BOUNDS if bound >= slowest)

        assert "does not answer" in (await reader.until(lambda found: not found["m-1"].pods))["m-1"].silent[0]
        with running(directory) as anew, running(echo_directory(tmp_path / "n"), "--name", "m") as other:
            await asyncio.to_thread(ask, anew, *[good] * 30, *[unlucky] * 5)  # more than it had, before anybody looks
            await asyncio.to_thread(ask, other, *[good] * 11)
            reader.readings.want(KEY, SINCE, [target(anew, started=AFTER), target(other, "m-2-x", "m-2", AFTER)])
            found = await reader.until(lambda found: "m-2" in found and found["m-1"].pods == 1)
        assert (found["m-1"].requests, found["m-1"].errors) == (27 + 35, 4 + 5)
        assert (found["m-2"].requests, found["m-2"].error_rate) == (11, 0)


async def test_what_is_on_its_way_and_waits_is_seen(tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "m", pause_seconds=1)
    async with Reader().at_work() as reader:
        with running(directory, "--max-batch-size", "1") as server:
            connections = [await Connection.to(server.port) for _ in range(4)]
            asked = [asyncio.create_task(connection.ask(column(1))) for connection in connections]
            reader.readings.want(KEY, SINCE, [target(server)])
            found = await reader.until(lambda found: bool(found) and found["m-1"].waiting == 3)
            assert found["m-1"].inflight == 4
            assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
            found = await reader.until(lambda found: found["m-1"].requests == 4 and found["m-1"].inflight == 0)
            assert found["m-1"].saturation is not None
            assert 0 < found["m-1"].saturation < 1
            for connection in connections:
                await connection.close()


# -- pods that misbehave


class Site:
    """A server of pages that are none, on loopback."""

    def __init__(self) -> None:
        self.requests = 0
        self.never = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Site]:
        pages: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            "/good": self.good,
            "/elsewhere": self.elsewhere,
            "/large": self.large,
            "/silent": self.silent,
            "/drips": self.drips,
        }
        app = web.Application()
        app.add_routes([web.get(path, page) for path, page in pages.items()])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self.never.set()
            await runner.cleanup()

    async def good(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(text=f"rpc_total {self.requests}\n")

    async def elsewhere(self, _: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("/good")

    async def large(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while not self.never.is_set():
            await answer.write(b"rpc_total 1\n" * 10_000)
        return answer

    async def silent(self, _: web.Request) -> web.StreamResponse:
        await self.never.wait()
        return web.Response()

    async def drips(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while not self.never.is_set():
            await answer.write(b"#")
            await asyncio.sleep(0.01)
        return answer

    def target(self, path: str, name: str = "m-1-x") -> Target:
        return Target(Pod(name, "m-1", AFTER), self.url + path, Metrics(requests="rpc_total"))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere", "answers with HTTP 404 ("),
        ("/elsewhere", "answers with HTTP 302 ("),
        ("/large", "has more than 1 MiB of metrics ("),
        ("/silent", "does not answer within 0.5 seconds ("),
        ("/drips", "does not answer within 0.5 seconds ("),
    ],
)
async def test_what_is_no_page_is_told_in_a_sentence(path: str, words: str) -> None:
    async with Site().open() as site:
        with pytest.raises(ScrapeError) as caught:
            await Scraper(patience_seconds=0.5).page(site.url + path)
        assert str(caught.value) == f"{words}{site.url}{path})"


async def test_a_pod_that_is_not_there_is_told_in_a_sentence() -> None:
    async with Site().open() as site:
        url = site.url
    with pytest.raises(ScrapeError, match=r"^does not answer: ClientConnectorError: .*Connect call failed"):
        await Scraper().page(url)


async def test_pods_that_do_not_answer_hold_up_no_other_service() -> None:
    async with Site().open() as site, Reader(Scraper(patience_seconds=PATIENCE_SECONDS)).at_work() as reader:
        other = Key("ml", "other")
        reader.readings.want(other, SINCE, [site.target("/silent", f"pod-{number}") for number in range(100)])
        reader.readings.want(KEY, SINCE, [site.target("/good")])
        assert (await reader.until(bool))["m-1"].requests == 1
        await reader.until(lambda found: found["m-1"].requests > 3)
        assert reader.readings.of(other) == {}


async def test_who_cannot_be_read_is_named_beside_what_can() -> None:
    async with Site().open() as site, Reader().at_work() as reader:
        reader.readings.want(KEY, SINCE, [site.target("/good"), site.target("/nowhere", "m-1-y")])
        reading = (await reader.until(bool))["m-1"]
        assert (reading.requests, reading.pods) == (1, 1)
        assert reading.silent == (f"pod m-1-y answers with HTTP 404 ({site.url}/nowhere)",)
        wrong = Target(site.target("/good").pod, f"{site.url}/good", TORCH)
        reader.readings.want(KEY, SINCE, [wrong])
        [words] = (await reader.until(lambda found: found["m-1"].pods == 0))["m-1"].silent
        assert words.startswith("pod m-1-x has metrics that cannot be used: it has no metric model_server_requests_tot")


async def test_nobody_is_asked_when_nobody_wants_to_know_any_more() -> None:
    async with Site().open() as site, Reader().at_work() as reader:
        reader.readings.want(KEY, SINCE, [site.target("/good")])
        await reader.until(lambda found: bool(found) and found["m-1"].requests > 1)
        assert reader.woken == [KEY], "it has asked once"
        reader.readings.want(KEY, SINCE, [site.target("/good")])
        await eventually(lambda: reader.woken == [KEY, KEY])
        reader.now += 100
        reader.readings.want(KEY, SINCE, [site.target("/good")])
        reader.now += 100
        before = reader.readings.of(KEY)["m-1"].requests
        await reader.until(lambda found: found["m-1"].requests > before)
        reader.now += 100
        await reader.until(lambda found: found == {})
        seen = site.requests
        reader.readings.want(KEY, SINCE, [site.target("/good", "m-1-y")])
        assert (await reader.until(bool))["m-1"].requests == site.requests == seen + 1, "one look, and it begins anew"


async def test_another_moment_begins_anew() -> None:
    async with Site().open() as site, Reader().at_work() as reader:
        reader.readings.want(KEY, SINCE, [site.target("/good")])
        await reader.until(lambda found: bool(found) and found["m-1"].requests > 5)
        assert reader.readings.want(KEY, SINCE, [site.target("/good")])["m-1"].requests > 5
        assert reader.readings.want(KEY, AFTER, [site.target("/good")]) == {}
        before = site.requests
        await reader.until(lambda found: bool(found) and found["m-1"].requests == site.requests - before - 1 > 0)


async def test_who_watches_is_told_every_look_at_his_pods_and_says_what_is_worth_waking_for() -> None:
    looks: list[dict[str, float | str]] = []

    def take(look: Look) -> bool:
        looks.append({pod.name: told if isinstance(told, str) else told.requests for pod, told in look})
        return len(looks) == 3

    async with Site().open() as site, Reader().at_work() as reader:
        reader.readings.watch(KEY, [site.target("/good"), site.target("/nowhere", "m-1-y")], take)
        await eventually(lambda: reader.woken == [KEY])
        assert len(looks) == 3
        assert [each["m-1-x"] for each in looks] == [1, 2, 3]
        assert str(looks[0]["m-1-y"]).startswith("answers with HTTP 404")
        reader.readings.want(KEY, SINCE, [site.target("/good")])  # one look for both
        await reader.until(lambda found: bool(found) and found["m-1"].requests > 3)
        assert abs(site.requests - len(looks)) <= 1
        reader.now += 1000
        await reader.until(lambda found: found == {})
        reader.readings.watch(KEY, [], take)  # it goes on where there is no pod, and for as long as it likes
        await eventually(lambda: looks[-1] == {})
        reader.readings.unwatch(KEY)
        seen = len(looks)
        reader.readings.want(KEY, SINCE, [site.target("/good")])
        await reader.until(bool)
        assert len(looks) <= seen + 1
