from __future__ import annotations

from dataclasses import replace

import pytest

from modelservice_operator import names
from modelservice_operator.render.children import pin
from modelservice_operator.rollout import ledger
from modelservice_operator.rollout.situation import Entry, Verdict
from unit.operator.makers import DIGEST, TEMPLATE, entry, line, promoted

PINS = {"m-1": pin("ml", "m", "m-1", DIGEST)}


@pytest.mark.parametrize(
    "written",
    [
        entry(),
        entry(sequence=7, verdict=Verdict.PASSED, decided_time="2026-01-01T00:00:00Z"),
        promoted(promotion=4, spec={"model": {"uri": "file:///m", "digest": DIGEST}}, digest=DIGEST),
        entry(verdict=Verdict.SUPERSEDED, template={"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}),
    ],
)
def test_a_line_is_read_as_it_was_written(written: Entry) -> None:
    assert ledger.entry(line(written), {}) == replace(written, resource_version="7")


def test_the_digest_is_the_user_s_else_what_the_first_fetch_found() -> None:
    given = entry(spec={"model": {"uri": "file:///m", "digest": "sha256:2"}})
    assert ledger.entry(line(given), PINS).digest == "sha256:2"
    assert ledger.entry(line(entry()), PINS).digest == DIGEST
    assert ledger.entry(line(entry("m-2")), PINS).digest == ""


def test_a_revision_is_pinned_when_its_digest_is_known_or_nothing_is_fetched() -> None:
    assert not entry().pinned
    assert entry(digest=DIGEST).pinned
    assert entry(template={"spec": {"initContainers": [{"name": "wait"}], "containers": TEMPLATE}}).pinned


@pytest.mark.parametrize(
    ("note", "value"), [(names.PROMOTION, "first"), (names.PROMOTION, ""), (names.VERDICT, "Adored")]
)
def test_a_note_that_makes_no_sense_counts_as_not_decided(note: str, value: str) -> None:
    body = line(promoted())
    body["metadata"]["annotations"][note] = value
    read = ledger.entry(body, {})
    assert (read.promotion == 0) == (note == names.PROMOTION)
    assert (read.verdict is Verdict.UNDECIDED) == (note == names.VERDICT)


def test_a_line_that_was_just_recorded_has_no_notes() -> None:
    body = line(entry())
    del body["metadata"]["annotations"]
    assert ledger.entry(body, {}) == replace(entry(), resource_version="7")
