"""Every word that status may say has its entry in docs/conditions.md."""

from __future__ import annotations

import re
from pathlib import Path

from modelservice_operator.api.reasons import ConditionType, EventReason, Reason

DOCS = (Path(__file__).parents[4] / "docs/conditions.md").read_text()


def table(heading: str) -> dict[str, str]:
    """Read a two-column table of the docs."""
    section = re.split("^## ", DOCS.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (\w+) \| (.+) \|$", section, flags=re.MULTILINE)
    return {word: meaning for word, meaning in rows if word.lower() + "s" != heading.lower()}


def test_the_docs_hold_every_condition_and_no_other() -> None:
    assert table("Conditions") == {str(condition): condition.meaning for condition in ConditionType}


def test_the_docs_hold_every_event_and_no_other() -> None:
    assert table("Events") == {str(reason): reason.meaning for reason in EventReason}


def test_the_docs_hold_every_reason_and_no_other() -> None:
    assert table("Reasons") == {str(reason): reason.meaning for reason in Reason}


def test_a_reason_is_the_word_that_status_carries() -> None:
    assert Reason.NAME_CONFLICT == "NameConflict"
    assert f"{Reason.NAME_CONFLICT}" == "NameConflict"
