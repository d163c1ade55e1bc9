"""Reads the ledger: ControllerRevisions, and the ConfigMaps that pin what their first fetch found.

Its notes are annotations, which anybody may write: what makes no sense there counts as not decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelservice_operator import names
from modelservice_operator.rollout import evidence
from modelservice_operator.rollout.decision import Judge, Mark
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
        reason=notes.get(names.REASON, ""),
        message=notes.get(names.MESSAGE, ""),
        decided_time=notes.get(names.DECIDED_TIME, ""),
        measured=_measured(notes.get(names.MEASURED, "")),
        log=evidence.end(notes.get(names.LOG, ""), evidence.KEPT_BYTES),
        retried=notes.get(names.RETRIED, ""),
        step=_number(notes.get(names.STEP, "")),
        step_time=notes.get(names.STEP_TIME, ""),
        makes_room=names.MAKES_ROOM in notes,
        spec=shaping,
        template=data.get("template") or {},
        resource_version=metadata["resourceVersion"],
        digest=_digest(metadata["name"], shaping, pins),
    )


def notes(entry: Entry) -> dict[str, str]:
    """Return the annotations that hold what was decided of a revision: what `entry` reads."""
    written = {
        names.VERDICT: entry.verdict.value,
        names.REASON: entry.reason,
        names.MESSAGE: entry.message,
        names.DECIDED_TIME: entry.decided_time,
        names.PROMOTION: str(entry.promotion or ""),
        names.MEASURED: json.dumps(entry.measured, sort_keys=True) if entry.measured else "",
        names.LOG: entry.log,
        names.RETRIED: entry.retried,
        names.STEP: str(entry.step or ""),
        names.STEP_TIME: entry.step_time,
        names.MAKES_ROOM: "true" if entry.makes_room else "",
    }
    return {note: value for note, value in written.items() if value}


def decided(entry: Entry, step: Judge | Mark, now: str, retry: str) -> Entry:
    """Return a line with what a plan decided of it at the time `now`; `retry` is the token of the last order to retry.

    Each verdict begins the steps anew.
    """
    match step:
        case Mark(_, number, makes_room):
            time = now if number != entry.step else entry.step_time
            return replace(entry, step=number, step_time=time, makes_room=makes_room)
        case Judge(_, verdict, promotion, reason, message, measured, log):
            return replace(
                entry,
                verdict=verdict,
                promotion=promotion or entry.promotion,
                reason=reason,
                message=message,
                decided_time=now,
                measured=measured,
                log=log,
                retried=retry if verdict is Verdict.FAILED else "",
                step=0,
                step_time="",
                makes_room=entry.makes_room and verdict is Verdict.PASSED,
            )


def _measured(note: str) -> dict[str, str]:
    try:
        found = json.loads(note or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


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
