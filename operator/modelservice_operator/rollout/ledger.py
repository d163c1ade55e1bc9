"""Reads the ledger: ControllerRevisions, and the ConfigMaps that pin what their first fetch found.

Its notes are annotations, which anybody may write: what makes no sense there counts as not decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelservice_operator import names
from modelservice_operator.rollout.situation import Entry, Verdict

Body = Mapping[str, Any]


def entry(revision: Body, pins: Mapping[str, Body]) -> Entry:
    """Return the ledger's line that a ControllerRevision holds; `pins` are the pin ConfigMaps by revision name."""
    metadata, data = revision["metadata"], revision.get("data") or {}
    notes = metadata.get("annotations") or {}
    shaping = data.get("spec") or {}
    return Entry(
        name=metadata["name"],
        sequence=revision["revision"],
        promotion=_number(notes.get(names.PROMOTION, "")),
        verdict=_verdict(notes.get(names.VERDICT, "")),
        decided_time=notes.get(names.DECIDED_TIME, ""),
        spec=shaping,
        template=data.get("template") or {},
        resource_version=metadata["resourceVersion"],
        digest=_digest(metadata["name"], shaping, pins),
    )


def _number(note: str) -> int:
    try:
        return int(note)
    except ValueError:
        return 0


def _verdict(note: str) -> Verdict:
    try:
        return Verdict(note)
    except ValueError:
        return Verdict.UNDECIDED


def _digest(name: str, shaping: Body, pins: Mapping[str, Body]) -> str:
    given = (shaping.get("model") or {}).get("digest", "")
    found = (pins.get(name, {}).get("data") or {}).get("digest", "")
    return str(given or found)
