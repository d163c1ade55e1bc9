"""What the pods of services answer, read from the pods' own metrics while somebody wants to know.

There is no other source: the pods are always there, whereas a Prometheus may not be, and what it knows between two
scrapes of its own is an estimate. Budgets, which look back for weeks, are its matter (`budgets`).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from modelservice_operator.engine.scrape import ScrapeError
from modelservice_operator.monitoring.exposition import ExpositionError, snapshot
from modelservice_operator.monitoring.readings import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from modelservice_operator.engine.scrape import Scraper
    from modelservice_operator.engine.store import Key
    from modelservice_operator.monitoring.readings import Outcome, Pod, Reading
    from modelservice_operator.monitoring.targets import Target

_LOOK_SECONDS: Final = 5.0
_LAPSE_SECONDS: Final = 120.0  # also what a busy operator may need until it asks again
_OF_A_SERVICE_AT_ONCE: Final = 4  # pods that do not answer hold up other services' only so far


Look: TypeAlias = "Sequence[tuple[Pod, Outcome]]"
"""What each pod of a service told, or why it did not."""


@dataclass(slots=True, eq=False)
class _Wish:
    """What pods have answered since a moment, for whoever asks now and then."""

    targets: Sequence[Target]
    account: Account
    asked: float
    is_awaited: bool = True  # somebody has asked since there was news last

    def take(self, look: Look) -> bool:
        """Add a look, and tell whether somebody waits for it."""
        self.account = self.account.after(look)
        is_news, self.is_awaited = self.is_awaited, False
        return is_news


@dataclass(slots=True, eq=False)
class _Watch:
    """Somebody to whom every look is told."""

    targets: Sequence[Target]
    take: Callable[[Look], bool]


class Readings:
    """What was read last, of the services that somebody asks for."""

    def __init__(
        self,
        scraper: Scraper,
        *,
        clock: Callable[[], float] = time.monotonic,
        every_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._scraper = scraper
        self._clock, self._every_seconds = clock, every_seconds
        self._wishes: dict[Key, _Wish] = {}
        self._watches: dict[Key, _Watch] = {}
        self._followed: dict[Key, asyncio.Event] = {}  # set: somebody new asks
        self._new: asyncio.Queue[Key] = asyncio.Queue()

    def want(self, key: Key, since: str, targets: Sequence[Target]) -> Mapping[str, Reading]:
        """Ask for what these pods have answered since a moment, as Kubernetes writes times; another one begins anew.

        Returned is what is known of it, by revision: nothing until the first look, so never what was known since
        another moment. To be repeated as long as it is of interest: what nobody has asked for during two minutes is
        forgotten.
        """
        wish = self._wishes.get(key)
        if wish is None or wish.account.since != since:
            wish = self._wishes[key] = _Wish(targets, Account(since), self._clock())
            self._begin(key)
        else:
            wish.targets, wish.asked, wish.is_awaited = targets, self._clock(), True
        return wish.account.readings()

    def of(self, key: Key) -> Mapping[str, Reading]:
        """Give what is known, by revision; nothing before the first look, or when nobody has asked."""
        wish = self._wishes.get(key)
        return wish.account.readings() if wish is not None else {}

    def watch(self, key: Key, targets: Sequence[Target], take: Callable[[Look], bool]) -> None:
        """Have every look at these pods told to `take`, which says whether it is worth waking the service."""
        watch = self._watches.get(key)
        if watch is None:
            self._watches[key] = _Watch(targets, take)
            self._begin(key)
        else:
            watch.targets, watch.take = targets, take

    def unwatch(self, key: Key) -> None:
        """Tell no more."""
        self._watches.pop(key, None)

    async def run(self, wake: Callable[[Iterable[Key] | None], None]) -> None:
        """Look until cancelled; `wake` is called with who has asked and can now be told more."""
        async with asyncio.TaskGroup() as looks:
            while True:
                key = await self._new.get()
                looks.create_task(self._follow(key, wake))

    def _begin(self, key: Key) -> None:
        if key in self._followed:
            self._followed[key].set()
        else:
            self._followed[key] = asyncio.Event()
            self._new.put_nowait(key)

    def _asking(self, key: Key) -> list[_Wish | _Watch]:
        return [each for each in (self._wishes.get(key), self._watches.get(key)) if each is not None]

    async def _follow(self, key: Key, wake: Callable[[Iterable[Key] | None], None]) -> None:
        """Look again and again for as long as somebody asks."""
        slots, is_asked = asyncio.Semaphore(_OF_A_SERVICE_AT_ONCE), self._followed[key]
        while asking := self._asking(key):
            is_asked.clear()
            targets = {target.pod: target for each in asking for target in each.targets}
            outcomes = await asyncio.gather(*(self._read(each, slots) for each in targets.values()))
            look = list(zip(targets, outcomes, strict=True))
            news = []
            for each in self._asking(key):
                own = {target.pod for target in each.targets}
                if each in asking:
                    news.append(each.take([(pod, outcome) for pod, outcome in look if pod in own]))
            if any(news):
                wake((key,))
            with suppress(TimeoutError):
                await asyncio.wait_for(is_asked.wait(), self._every_seconds)
            wish = self._wishes.get(key)
            if wish is not None and self._clock() - wish.asked > _LAPSE_SECONDS:
                del self._wishes[key]
        del self._followed[key]

    async def _read(self, target: Target, slots: asyncio.Semaphore) -> Outcome:
        """Return what a pod tells, or why it does not."""
        try:
            async with slots:
                page = await self._scraper.page(target.url)
            return await asyncio.to_thread(snapshot, page, target.metrics)
        except ScrapeError as error:
            return str(error)
        except ExpositionError as error:
            return f"has metrics that cannot be used: {error} ({target.url})"
