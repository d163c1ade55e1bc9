"""What became of revisions, as status tells it: the ledger has the last decision on each, status the ones before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelservice_operator.api.reasons import Reason
from modelservice_operator.rollout.situation import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modelservice_operator.rollout.situation import Entry

Body = dict[str, Any]

KEPT = 10
_HAD_TRAFFIC = {Reason.ERROR_RATE, Reason.LATENCY_REGRESSION, Reason.ROLLED_BACK}
_TOLD = {Verdict.PROMOTED, Verdict.SUPERSEDED, Verdict.FAILED}


def history(ledger: Iterable[Entry], told: Sequence[Mapping[str, Any]]) -> list[Body]:
    """Return the last decisions, the newest first; `told` is what status has of them already."""
    news = [_decision(entry) for entry in ledger if entry.verdict in _TOLD and entry.decided_time]
    known = {(each["revision"], each["decidedTime"], each["decision"]) for each in news}
    old = [dict(each) for each in told if (each["revision"], each["decidedTime"], each["decision"]) not in known]
    return sorted([*news, *old], key=lambda each: (each["decidedTime"], each["revision"]), reverse=True)[:KEPT]


def _decision(entry: Entry) -> Body:
    return {
        "revision": entry.name,
        "decision": _word(entry),
        "reason": entry.reason or "Passed",
        "message": entry.message or "It held the promised number of pods.",
        "decidedTime": entry.decided_time,
        **({"measured": dict(entry.measured)} if entry.measured else {}),
        **({"log": entry.log} if entry.log else {}),
    }


def _word(entry: Entry) -> str:
    if entry.verdict is Verdict.FAILED:
        return "RolledBack" if entry.promotion or entry.reason in _HAD_TRAFFIC else "Failed"
    return entry.verdict.value
