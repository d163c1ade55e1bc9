"""What the alerts of a service make of histories, by Prometheus' own engine. Without a cluster; see bench/alerts."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
import yaml

import histories
import promtool
from controlplane.chart import ROOT
from firing import paged, told
from modelservice_operator.api import parse
from modelservice_operator.slo import Links, rule_groups
from sizes import IS_FULL
from stories import OUTAGES, Outage, loud, promising, quiet, slo

if TYPE_CHECKING:
    from pathlib import Path

    from modelservice_operator.api import ModelServiceSpec

NEWEST, OLDER = "3.x", "Debian's"
STORIES = quiet() | loud()
SEEN = OUTAGES if IS_FULL else [each for each in OUTAGES if each.target in {"99.99%", "99.9%", "99%", "90%"}]


def promtool_of(name: str) -> Path:
    found = promtool.newest() if name == NEWEST else promtool.of_debian()
    return found or pytest.skip("this machine cannot fetch Debian's prometheus")


@pytest.fixture(params=[NEWEST, OLDER])
def program(request: pytest.FixtureRequest) -> Path:
    return promtool_of(request.param)


# In the sample the newest Prometheus alone sees all histories; `make test-full` and `make bench-alerts` show both all.
@pytest.fixture(params=[NEWEST, OLDER] if IS_FULL else [NEWEST])
def seer(request: pytest.FixtureRequest) -> Path:
    return promtool_of(request.param)


def examples() -> list[ModelServiceSpec]:
    """The specs of the examples that promise something."""
    bodies = [body for file in (ROOT / "examples").glob("*.yaml") for body in yaml.safe_load_all(file.read_text())]
    return [parse(body) for body in bodies if body["kind"] == "ModelService" and "slo" in body["spec"]]


def generated() -> list[ModelServiceSpec]:
    random = Random(1)  # noqa: S311 - no secret depends on it

    def target() -> str:
        return f"{random.choice([random.uniform(50, 99.999), random.uniform(99, 99.999)]):.3f}%"

    return [
        promising(
            slo=slo(
                target(),
                window=random.choice(["7d", "28d", "30d"]),
                threshold=f"{random.randint(1, 9999)}ms",
                latency=target(),
            ),
            startupTimeout=f"{random.randint(1, 7200)}s",
        )
        for _ in range(100 if IS_FULL else 20)
    ]


def test_promtool_finds_the_rules_of_all_objectives_sound(program: Path) -> None:
    assert examples()
    specs = [*examples(), *generated()]
    links = Links("https://example.com/{alert}")
    named = [rule_groups("ml", f"m{number}", spec, links) for number, spec in enumerate(specs)]
    promtool.check(program, [group for one in named for group in one])


def test_an_older_prometheus_pages_as_well() -> None:
    assert paged(promtool_of(OLDER), next(outage for outage in OUTAGES if outage.target == "99.9%")).tier <= 120


@pytest.mark.parametrize("outage", SEEN, ids=lambda it: f"{it.target} over {it.window}")
def test_an_outage_is_told_when_the_formula_says_and_within_three_minutes(outage: Outage, seer: Path) -> None:
    came = paged(seer, outage)
    assert came.tier <= outage.latest
    assert came.anyhow <= 180
    if outage.target == "99.9%":
        assert came.tier <= 120


@pytest.mark.parametrize("name", STORIES)
def test_a_history_rings_these_alerts_and_no_others(name: str, seer: Path) -> None:
    assert {each.kind for each in told(seer, STORIES[name])} == STORIES[name].fires


@pytest.mark.parametrize("seed", range(20 if IS_FULL else 2))
def test_the_budget_is_what_the_formula_says_and_within_a_hundredth_of_the_truth(seed: int, program: Path) -> None:
    days = histories.days(Random(seed), 3)  # noqa: S311 - no secret depends on it
    found = histories.spent_by_rules(program, days)
    modern = not promtool.version_of(program).startswith("2.")
    assert found == pytest.approx(histories.spent_by_formula(days, modern=modern), rel=1e-6)
    assert found == pytest.approx(days.spent, rel=0.01)
