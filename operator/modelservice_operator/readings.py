"""What the pods of services answer, read from the pods' own metrics while somebody wants to know.

There is no other source: the pods are always there, whereas a Prometheus may not be, and what it knows between two
scrapes of its own is an estimate. Budgets, which look back for weeks, are its matter (`budgets`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from modelservice_operator.engine.scrape import ScrapeError
from modelservice_operator.monitoring.exposition import ExpositionError, snapshot
from modelservice_operator.monitoring.readings import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from modelservice_operator.engine.scrape import Scraper
    from modelservice_operator.engine.store import Key
    from modelservice_operator.monitoring.readings import Outcome, Reading
    from modelservice_operator.monitoring.targets import Target

_LOOK_SECONDS: Final = 5.0
_LAPSE_SECONDS: Final = 120.0  # also what a busy operator may need until it asks again
_OF_A_SERVICE_AT_ONCE: Final = 4  # pods that do not answer hold up other services' only so far


@dataclass(slots=True)
class _Wish:
    """What somebody wants to know of a service, and what is known."""

    targets: Sequence[Target]
    account: Account
    asked: float
    is_awaited: bool = True  # somebody has asked since there was news last
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_OF_A_SERVICE_AT_ONCE))


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
        self._new: asyncio.Queue[tuple[Key, _Wish]] = asyncio.Queue()

    def want(self, key: Key, since: str, targets: Sequence[Target]) -> Mapping[str, Reading]:
        """Ask for what these pods have answered since a moment, as Kubernetes writes times; another one begins anew.

        Returned is what is known of it, by revision: nothing until the first look, so never what was known since
        another moment. To be repeated as long as it is of interest: what nobody has asked for during two minutes is
        forgotten.
        """
        wish = self._wishes.get(key)
        if wish is None or wish.account.since != since:
            wish = self._wishes[key] = _Wish(targets, Account(since), self._clock())
            self._new.put_nowait((key, wish))
        else:
            wish.targets, wish.asked, wish.is_awaited = targets, self._clock(), True
        return wish.account.readings()

    def of(self, key: Key) -> Mapping[str, Reading]:
        """Give what is known, by revision; nothing before the first look, or when nobody has asked."""
        wish = self._wishes.get(key)
        return wish.account.readings() if wish is not None else {}

    async def run(self, wake: Callable[[Iterable[Key] | None], None]) -> None:
        """Look until cancelled; `wake` is called with who has asked and can now be told more."""
        async with asyncio.TaskGroup() as looks:
            while True:
                key, wish = await self._new.get()
                looks.create_task(self._follow(key, wish, wake))

    async def _follow(self, key: Key, wish: _Wish, wake: Callable[[Iterable[Key] | None], None]) -> None:
        """Look again and again for as long as the wish stands."""
        while self._wishes.get(key) is wish:
            targets = wish.targets
            outcomes = await asyncio.gather(*(self._read(each, wish.slots) for each in targets))
            wish.account = wish.account.after(zip((each.pod for each in targets), outcomes, strict=True))
            if wish.is_awaited and self._wishes.get(key) is wish:
                wish.is_awaited = False
                wake((key,))
            await asyncio.sleep(self._every_seconds)
            if self._clock() - wish.asked > _LAPSE_SECONDS and self._wishes.get(key) is wish:
                del self._wishes[key]

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
