"""The cases of the plan, as the documentation has them."""

from __future__ import annotations

from pathlib import Path

from modelservice_operator.rollout import table

PAGE = Path(__file__).parents[4] / "docs/rollouts.md"


def test_page_and_picture_are_what_make_crds_writes() -> None:
    assert PAGE.read_text() == table.written_into(PAGE.read_text())
    assert PAGE.with_suffix(".svg").read_text() == table.as_svg()


def test_every_way_of_the_traffic_is_drawn() -> None:
    ways = {("none yet", "stable"), ("stable", "stable+other"), ("stable+other", "stable"), ("stable", "stable")}
    assert table.changes().keys() == ways


def test_every_case_is_read_in_full() -> None:
    found = table.cases()
    assert len(found) > 20
    assert all(case.traffic and case.aim and case.step for case in found)
    assert found[2].and_ == "a failed revision is not wanted any more, or is to be retried"
