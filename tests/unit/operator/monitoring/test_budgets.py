from __future__ import annotations

import math

import pytest

from modelservice_operator.monitoring.budgets import (
    Figures,
    Silence,
    figures,
    is_news,
    quality,
    remembered,
    shown,
    within_budget,
)
from unit.operator.makers import Body, parsed

BOTH = [{"name": "availability", "target": "99.9%"}, {"name": "latency", "target": "99%", "threshold": "250ms"}]
SLO = parsed(slo={"objectives": BOTH}).slo
assert SLO is not None


def known(availability: float | None = 0.83, latency: float | None = 0.5, rate: float = 0.4) -> dict[str, Figures]:
    return {"availability": Figures(availability, rate), "latency": Figures(latency, rate)}


def one(told: str, share: float) -> str:
    """What is told of a budget after something else was told."""
    assert SLO is not None
    before: list[Body] = [{"name": "availability", "target": "99.9%", "budgetRemaining": told}] if told else []
    [entry] = [each for each in shown(SLO, known(share), before) if each["name"] == "availability"]
    return str(entry["budgetRemaining"])


def test_every_objective_is_shown_the_one_with_the_least_budget_first() -> None:
    assert shown(SLO, known(), []) == [
        {"name": "latency", "target": "99%", "budgetRemaining": "50%", "burnRate": "0.4"},
        {"name": "availability", "target": "99.9%", "budgetRemaining": "83%", "burnRate": "0.4"},
    ]


def test_what_is_not_known_is_not_shown_and_comes_last() -> None:
    assert shown(SLO, {"latency": Figures(-1.5, None)}, []) == [
        {"name": "latency", "target": "99%", "budgetRemaining": "-150%"},
        {"name": "availability", "target": "99.9%"},
    ]


@pytest.mark.parametrize(
    ("told", "share", "tells"),
    [
        ("", 0.83, "83%"),
        ("", 0.821, "83%"),
        ("", 1.0, "100%"),
        ("", 0.001, "1%"),  # 0% is one that is spent
        ("", 0.0, "0%"),
        ("", -0.004, "0%"),
        ("", -9.9, "-990%"),
        ("83%", 0.834, "83%"),
        ("83%", 0.836, "84%"),
        ("83%", 0.816, "83%"),
        ("83%", 0.814, "82%"),
        ("1%", 0.0, "0%"),
        ("0%", 0.001, "1%"),
    ],
)
def test_a_budget_is_told_in_whole_percent_and_not_anew_for_less(told: str, share: float, tells: str) -> None:
    assert one(told, share) == tells


@pytest.mark.parametrize(
    ("told", "rate", "tells"),
    [
        ("", 0.44, "0.4"),
        ("0.4", 0.49, "0.4"),
        ("0.4", 0.51, "0.5"),
        ("14.4", 15.0, "14.4"),
        ("14.4", 16.0, "16.0"),
        ("0.1", 0, "0.1"),
        ("0.2", 0, "0.0"),
    ],
)
def test_a_burn_rate_is_told_to_one_decimal_and_not_anew_for_less(told: str, rate: float, tells: str) -> None:
    before = [{"name": name, "target": "99%", "burnRate": told} for name in ("availability", "latency") if told]
    assert {each["burnRate"] for each in shown(SLO, known(rate=rate), before)} == {tells}


def test_what_a_status_tells_is_told_again_by_one_who_knows_no_more() -> None:
    for told in ([], shown(SLO, known(), []), shown(SLO, {"latency": Figures(-1.5, None)}, [])):
        if told:
            assert shown(SLO, remembered(told), told) == told
    assert within_budget(SLO, remembered(shown(SLO, known(0.001), [])))[0] == "True"
    assert within_budget(SLO, remembered(shown(SLO, known(0.0), [])))[0] == "False"


def test_who_has_not_asked_yet_says_so_where_a_status_tells_nothing() -> None:
    told = shown(SLO, {}, [])
    assert quality(SLO, Silence.NOT_YET, told).within_budget[:2] == ("Unknown", "PrometheusUnavailable")
    assert quality(SLO, Silence.NOT_YET, shown(SLO, known(), [])).within_budget[0] == "True"
    assert quality(SLO, Silence.NO_ANSWER, shown(SLO, known(), [])).objectives == told


def test_a_service_is_within_its_budget_until_one_objective_has_spent_it() -> None:
    assert within_budget(SLO, known())[:2] == ("True", "WithinBudget")
    spent = within_budget(SLO, known(availability=0.0))
    assert spent == ("False", "BudgetExhausted", "The error budget of availability is spent.")
    both = within_budget(SLO, known(-1, -1))
    assert both[2] == "The error budget of availability and latency is spent."


def test_silence_is_unknown_but_hides_no_budget_that_is_spent() -> None:
    assert within_budget(SLO, {})[:2] == ("Unknown", "NoBudgetData")
    status, reason, message = within_budget(SLO, known(latency=None))
    assert (status, reason) == ("Unknown", "NoBudgetData")
    assert "no budget of latency" in message
    assert within_budget(SLO, known(-1, None))[0] == "False"


def test_of_several_answers_about_one_objective_the_worst_counts_and_nan_never() -> None:
    labels = {"namespace": "ml", "modelservice": "m", "slo": "availability"}
    found = figures(
        [(labels, 0.5), (labels | {"replica": "b"}, 0.4), (labels, math.nan)], [(labels, 1.0), (labels, 2.0)]
    )
    assert found == {("ml", "m"): {"availability": Figures(0.4, 2.0)}}
    assert figures([(labels, math.nan)], []) == {}


def test_news_is_what_a_person_would_see() -> None:
    assert not is_news(known(0.83), known(0.827, rate=0.45))
    assert is_news(known(0.83), known(0.81))
    assert is_news(known(rate=0.4), known(rate=0.6))
    assert is_news(known(0.001), known(0.0))
    assert is_news({}, known())
    assert is_news(known(), {})
    assert is_news(known(), known(None))
