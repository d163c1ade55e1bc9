"""Which bounds count when."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from modelservice_operator.scaling import Policy, Schedule, ScheduleError

BERLIN = "Europe/Berlin"
OFFICE = (
    Schedule("0 8 * * MON-FRI", BERLIN, min_replicas=4, max_replicas=20),
    Schedule("0 18 * * MON-FRI", BERLIN),
)


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("time", "bounds"),
    [
        ("2026-11-27 07:59:59", (1, 9)),
        ("2026-11-27 08:00:00", (4, 20)),
        ("2026-11-27 17:59:59", (4, 20)),
        ("2026-11-27 18:00:00", (1, 9)),
        ("2026-11-28 12:00:00", (1, 9)),  # a Saturday
        ("2026-07-27 08:00:00", (4, 20)),  # in summer, an hour earlier by UTC
        ("2026-07-27 07:59:59", (1, 9)),
    ],
)
def test_the_schedule_whose_time_came_last_counts(time: str, bounds: tuple[int, int]) -> None:
    found = Policy(target=7, min_replicas=1, max_replicas=9, schedules=OFFICE).bounds(at(time))
    assert (found.min_replicas, found.max_replicas) == bounds


def test_a_time_that_clocks_skip_comes_with_the_hour_after_it() -> None:
    schedules = (Schedule("30 2 * * *", BERLIN, min_replicas=3), Schedule("0 1 * * *", BERLIN, min_replicas=1))
    policy = Policy(target=7, max_replicas=9, schedules=schedules)
    assert policy.bounds(at("2026-03-29 01:59")).min_replicas == 1
    assert policy.bounds(at("2026-03-29 03:30")).min_replicas == 3


def test_at_the_same_time_the_last_in_the_list_counts() -> None:
    schedules = (Schedule("0 8 * * *", min_replicas=2), Schedule("0 8 * * MON", min_replicas=5))
    policy = Policy(target=7, max_replicas=9, schedules=schedules)
    assert policy.bounds(at("2026-11-23 09:00", "Etc/UTC")).min_replicas == 5
    assert policy.bounds(at("2026-11-24 09:00", "Etc/UTC")).min_replicas == 2


def test_a_minimum_beats_a_maximum_that_is_less() -> None:
    found = Policy(target=7, max_replicas=3, schedules=(Schedule("* * * * *", min_replicas=5),)).bounds(0)
    assert (found.min_replicas, found.max_replicas) == (5, 5)


@pytest.mark.parametrize(
    ("cron", "zone", "why"),
    [
        ("0 8 * *", BERLIN, "it needs minute, hour"),
        ("0 0 8 * * *", BERLIN, "it needs minute, hour"),
        ("0 25 * * *", BERLIN, "bad hour"),
        ("0 8 31 2 *", BERLIN, "bad day-of-month"),
        ("0 8 * * *", "Mars/Olympus", '"Mars/Olympus" is no time zone'),
        ("0 8 * * *", "../etc/passwd", "is no time zone"),
        ("0 8 * * *", "", "is no time zone"),
    ],
)
def test_what_has_no_meaning_is_refused_with_a_sentence(cron: str, zone: str, why: str) -> None:
    with pytest.raises(ScheduleError, match=why):
        Schedule(cron, zone)
