"""Bounds that change with the time of the day or of the week: of all schedules the one whose time came last counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS = 5  # the library takes a sixth, for seconds


class ScheduleError(ValueError):
    """A schedule cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """From each of its times on these bounds count, until another schedule's time comes."""

    cron: str
    """Minute, hour, day of the month, month, day of the week; as Debian's cron reads them, also when clocks change."""
    time_zone: str = "Etc/UTC"
    min_replicas: int | None = None
    """None: the service's own."""
    max_replicas: int | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        try:
            zone = ZoneInfo(self.time_zone)
        except (OSError, ValueError, KeyError):
            raise ScheduleError(
                f'"{self.time_zone}" is no time zone; its names are like "Europe/Berlin" or "Etc/UTC"'
            ) from None
        if len(self.cron.split()) != _FIELDS:
            raise ScheduleError(
                f'"{self.cron}" is no schedule: it needs minute, hour, day of the month, month and day of the week, '
                'like "0 8 * * MON-FRI"'
            )
        try:
            next(CronSim(self.cron, datetime(2026, 1, 1, tzinfo=zone)))
        except (CronSimError, StopIteration) as error:
            why = str(error).lower() or "no such day ever comes"
            raise ScheduleError(f'"{self.cron}" is no schedule: {why}') from None


def in_force(schedules: Iterable[Schedule], now: float) -> Schedule | None:
    """Return the schedule whose time came last; of several at the same time the last one in the list."""
    return max(
        reversed(tuple(schedules)), key=lambda each: _came(each.cron, each.time_zone, int(now // 60)), default=None
    )


@lru_cache(maxsize=4096)
def _came(cron: str, time_zone: str, minute: int) -> float:
    """Return when its time came last, at the end of this minute or before."""
    end = datetime.fromtimestamp(60 * minute + 59, tz=UTC).astimezone(ZoneInfo(time_zone))
    return next(CronSim(cron, end, reverse=True)).timestamp()
