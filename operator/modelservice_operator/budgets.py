"""The error budgets of all services, as the configuration's Prometheus has them; whoever's changed is looked at."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from modelservice_operator.engine.prometheus import PrometheusError
from modelservice_operator.engine.store import Key
from modelservice_operator.monitoring.budgets import BURN_RATE, REMAINING, Silence, figures, is_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelservice_operator.engine.prometheus import Prometheus
    from modelservice_operator.monitoring.budgets import Known

_ASK_SECONDS: Final = 30.0
_GOOD_FOR_SECONDS: Final = 120.0  # a Prometheus that starts anew is no news

LOOKS: Final = Counter(
    "modelservice_operator_budget_looks",
    "Looks at the error budgets of all services, by whether Prometheus answered.",
    ["outcome"],
)

_log = logging.getLogger(__name__)


class Budgets:
    """What was answered last. Two questions for all services together, every half a minute."""

    def __init__(
        self,
        prometheus: Prometheus | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        every_seconds: float = _ASK_SECONDS,
    ) -> None:
        """No Prometheus: nothing is ever known."""
        self._prometheus = prometheus
        self._silence: Silence | None = Silence.NOT_YET if prometheus is not None else Silence.NOBODY_TO_ASK
        self._clock, self._every_seconds = clock, every_seconds
        self._known: dict[Key, Known] = {}
        self._answered = clock()
        self._words = ""

    def of(self, key: Key) -> Known | Silence:
        """Give what is known of a service."""
        return self._known.get(key, {}) if self._silence is None else self._silence

    async def run(self, wake: Callable[[Iterable[Key] | None], None]) -> None:
        """Ask until cancelled; `wake` is called with those of whom there is news, with None where all are concerned."""
        while True:
            if self._prometheus is not None:
                await self._ask(self._prometheus, wake)
            await asyncio.sleep(self._every_seconds)

    async def _ask(self, prometheus: Prometheus, wake: Callable[[Iterable[Key] | None], None]) -> None:
        try:
            found = figures(await prometheus.ask(REMAINING), await prometheus.ask(BURN_RATE))
        except PrometheusError as error:
            LOOKS.labels("Failed").inc()
            if str(error) != self._words:  # say it once, not at each try
                _log.warning("The error budgets are not known, as Prometheus does not answer: %s", error)
            self._words = str(error)
            if self._silence is not Silence.NO_ANSWER and self._clock() - self._answered > _GOOD_FOR_SECONDS:
                self._silence, self._known = Silence.NO_ANSWER, {}
                wake(None)
            return
        LOOKS.labels("Answered").inc()
        if self._words:
            _log.info("Prometheus answers again")
        self._answered, self._words = self._clock(), ""
        after = {Key(*name): known for name, known in found.items()}
        before = self._known
        news = {key for key in before.keys() | after.keys() if is_news(before.get(key, {}), after.get(key, {}))}
        # What is no news stays as it was told, or many small changes would never be one.
        self._known = {key: after[key] if key in news else before[key] for key in after}
        is_first, self._silence = self._silence is not None, None
        wake(None if is_first else news)
