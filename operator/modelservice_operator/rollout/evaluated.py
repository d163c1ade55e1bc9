"""Reads how an evaluation ended: the numbers that its pod left as its last words, or a sentence that says why not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from modelservice_operator.rollout.gates import number
from modelservice_operator.rollout.pods import refused
from modelservice_operator.rollout.pods import trouble as trouble_of
from modelservice_operator.rollout.situation import Evaluated, Trouble

Body = Mapping[str, Any]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_WORDS = 400
_CREATING = re.compile(r"^(\(combined from similar events\): )?Error creating: ")


def has_ended(job: Body) -> bool:
    """Tell whether a Job has come to its end, good or bad."""
    return _end(job) is not None


def ended_time(job: Body) -> str:
    """Return when that was."""
    return str((_end(job) or {}).get("lastTransitionTime", ""))


def outcome(job: Body, pods: Iterable[Body]) -> Evaluated:
    """Return what came of a Job that has ended; `pods` are its own."""
    words = [message for pod in pods for message in _last_words(pod)]
    for message in words:
        if (found := _scores(message)) is not None:
            return found
    told = [_problem(message) for message in words if message]
    end = _end(job) or {}
    return Evaluated(problem=(told or [str(end.get("message") or "Its pod is gone without a word.")])[0])


def is_under_way(job: Body) -> bool:
    """Tell whether the pod of a Job runs."""
    return not has_ended(job) and bool((job.get("status") or {}).get("ready"))


def trouble(pods: Iterable[Body], refusals: Iterable[Body]) -> Trouble | None:
    """Return why a Job's pod does not run: what holds it up, or if there is none, Events about who refuses it."""
    waiting = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Pending"]
    if found := [told for pod in waiting if (told := trouble_of(pod)) is not None]:
        return found[0]
    last = max(refusals, key=_told_time, default=None)
    return refused(_CREATING.sub("", str(last.get("note", "")))) if last is not None else None


def _told_time(event: Body) -> str:
    return str(event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")


def _end(job: Body) -> Body | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next(
        (each for each in conditions if each["type"] in {"Complete", "Failed"} and each["status"] == "True"), None
    )


def _last_words(pod: Body) -> list[str]:
    states = [each.get("state") or {} for each in (pod.get("status") or {}).get("containerStatuses") or ()]
    return [str(state["terminated"].get("message", "")).strip() for state in states if "terminated" in state]


def _scores(message: str) -> Evaluated | None:
    """Return the scores, if a message holds them and nothing else: whoever wrote it ran beside a model."""
    try:
        found = json.loads(message)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.keys() != {"digest", "rows", "failed", "metrics"}:
        return None
    digest, metrics = found["digest"], found["metrics"]
    is_digest = isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None
    if not is_digest or found["failed"] != 0 or not isinstance(metrics, dict):
        return None
    scores = {str(name): str(value) for name, value in metrics.items()}
    if any(number(value) is None for value in scores.values()):
        return None
    return Evaluated(scores, digest)


def _problem(message: str) -> str:
    try:
        found = json.loads(message)
    except ValueError:
        found = None
    told = str(found["message"]) if isinstance(found, dict) and "message" in found else message
    return " ".join(told.split())[-_LONGEST_WORDS:]
