"""Every word that status may say, in the code and on the page that is made of it."""

from __future__ import annotations

import re

from modelservice_operator.api.reasons import ConditionType, EventReason, Reason
from modelservice_operator.api.troubleshooting import as_markdown


def test_a_reason_is_the_word_that_status_carries() -> None:
    assert Reason.NAME_CONFLICT == "NameConflict"
    assert f"{Reason.NAME_CONFLICT}" == "NameConflict"


def test_every_word_has_an_entry_with_a_sentence() -> None:
    page = as_markdown()
    entries = dict(re.findall(r"^### (\w+)\n\n(.+\.\n\n\*\*What to do:\*\* .+)\.$", page, re.MULTILINE))
    assert sorted(entries) == sorted(Reason)
    rows = re.findall(r"^\| (\w+) \| .+\. \|$", page, re.MULTILINE)
    assert rows == [*ConditionType, *EventReason]
