"""How fast a budget may go: the numbers of the SRE workbook, and which of them a target makes meaningless."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.api.percentage import Percentage
from modelservice_operator.api.types import Objective, ObjectiveName, Slo, SloWindow
from modelservice_operator.slo.burn import DAYS, MINUTES, dropped, number, tiers


def factors(window: str) -> list[str]:
    return [number(tier.factor) for tier in tiers(SloWindow(window), Percentage.parse("99%"))]


def living(target: str) -> list[str]:
    return [tier.long for tier in tiers(SloWindow.MONTH, Percentage.parse(target)) if tier.can_fire]


def test_the_factors_are_those_of_the_workbook_and_of_sloth() -> None:
    assert factors("30d") == ["14.4", "6", "3", "1"]
    assert factors("28d") == ["13.44", "5.6", "2.8", "0.933333333333"]
    assert factors("7d") == ["13.44", "3.5", "1.4", "0.98"]


def test_an_outage_is_told_of_after_this_long() -> None:
    [fastest, *_] = tiers(SloWindow.MONTH, Percentage.parse("99.9%"))
    assert fastest.outage_seconds == 51.84
    assert number(fastest.threshold) == "0.0144"


def test_what_would_need_more_than_all_requests_to_be_bad_cannot_fire() -> None:
    assert living("99.9%") == ["1h", "6h", "1d", "3d"]
    assert living("93.06%") == ["1h", "6h", "1d", "3d"]
    assert living("93.055%") == ["6h", "1d", "3d"]
    assert living("83%") == ["1d", "3d"]
    assert living("50%") == ["3d"]


def test_what_is_left_out_is_told_with_the_reason() -> None:
    objective = Objective(name=ObjectiveName.AVAILABILITY, target=Percentage.parse("90%"))
    assert dropped(Slo(objectives=(objective,))) == [
        "availability at 90%: no critical alert over 1h, which would need 144% of the requests to be bad"
    ]


@given(st.sampled_from(SloWindow), st.integers(min_value=50_000, max_value=99_999))
def test_a_tier_fires_when_its_part_of_the_budget_is_gone(window: SloWindow, thousandths: int) -> None:
    target = Percentage.parse(f"{thousandths // 1000}.{thousandths % 1000:03}%")
    for tier in tiers(window, target):
        gone = tier.threshold * MINUTES[tier.long] / (DAYS[window] * 1440) / tier.budget
        assert gone == tier.part
        assert tier.can_fire == (tier.threshold < 1)
        assert float(number(tier.threshold)) == pytest.approx(float(tier.threshold), rel=1e-11)


@pytest.mark.parametrize("window", SloWindow)
@pytest.mark.parametrize("target", ["50%", "99%", "99.999%"])
def test_some_tier_always_can_fire_and_slower_ones_need_less(window: SloWindow, target: str) -> None:
    found = tiers(window, Percentage.parse(target))
    assert found[-1].can_fire
    assert [tier.factor for tier in found] == sorted((tier.factor for tier in found), reverse=True)
    assert all(tier.budget == 1 - Fraction(Percentage.parse(target).share) for tier in found)
