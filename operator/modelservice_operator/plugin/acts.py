"""What a command writes into a ModelService, or why it will not. Pure: from the object as it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelservice_operator import names
from modelservice_operator.plugin.words import is_paused, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelservice_operator.plugin.words import Body

_GIVEN_UP = frozenset({"Failed", "RolledBack", "Superseded"})
_FAILED = frozenset({"Failed", "RolledBack"})
_ON_THE_WAY_BACK = frozenset({"Failed", "Returning"})  # phases


class RefusedError(Exception):
    """The command makes no sense for what is there; the message says why, and what would."""


class Act(NamedTuple):
    """A merge patch, and what it comes to in words."""

    patch: Body
    told: str
    revision: str = ""
    """The one that it names."""


def pause(service: Body, revision: str, now: str) -> Act:
    """Hold starts and promotions."""
    del revision, now
    name = service["metadata"]["name"]
    told = (
        f"{name} is paused: no revision starts and none is promoted; scaling, repair and automatic rollback go on. "
        f"`kubectl modelservice resume {name}` ends that."
    )
    return Act({"spec": {"rollout": {"paused": True}}}, told)


def resume(service: Body, revision: str, now: str) -> Act:
    """Let starts and promotions go on."""
    del revision, now
    return Act({"spec": {"rollout": {"paused": False}}}, f"{service['metadata']['name']} goes on.")


def promote(service: Body, revision: str, now: str) -> Act:
    """Let the revision on its way in skip what it still has to wait for or prove."""
    del now
    name, coming = service["metadata"]["name"], _coming(service)
    if not coming:
        serves = f"{_stable(service)} serves" if _stable(service) else "and nothing serves yet"
        raise RefusedError(
            f"Nothing is on its way in that could be promoted: {serves}. Change the spec to bring in a revision, or, "
            f"if one was refused, have it tried again: `kubectl modelservice retry {name}`."
        )
    if revision and revision not in coming:
        raise RefusedError(f"{revision} is not on its way in; {' and '.join(coming)} is. Name that, or none.")
    chosen = revision or coming[0]
    return Act(_annotated({names.PROMOTE: chosen}), f"{chosen} skips what it still has to wait for or prove.", chosen)


def rollback(service: Body, revision: str, now: str) -> Act:
    """Give a revision up for good and return to the one promoted before."""
    del now
    name, status = service["metadata"]["name"], status_of(service)
    desired, known = _desired(service), _known(status)
    chosen = revision or desired
    if not known or not chosen:
        raise RefusedError(f"{name} has no revision yet, so there is none to give up.")
    if chosen not in known:
        raise RefusedError(f"{name} has no revision {chosen}; its status tells of {', '.join(known)}.")
    if chosen == _failed(service):
        raise RefusedError(
            f"{chosen} was refused or given up already. Change the spec to what should serve, or have it tried again: "
            f"`kubectl modelservice retry {name}`."
        )
    patch = _annotated({names.ROLLBACK: chosen})
    if chosen != desired:
        return Act(patch, f"{chosen} is given up for good. The spec describes {desired}, which is left alone.", chosen)
    if not _promoted(status) - {chosen}:
        raise RefusedError(
            f"There is nothing to return to: no other revision of {name} than {chosen} was promoted. Change the spec "
            f"to what should serve, or hold what is there with `kubectl modelservice pause {name}`."
        )
    return Act(patch, f"{chosen} is given up for good; the revision promoted before it serves.", chosen)


def retry(service: Body, revision: str, now: str) -> Act:
    """Forget that the desired revision was refused."""
    del revision
    name, failed = service["metadata"]["name"], _failed(service)
    if not failed:
        raise RefusedError(
            f"Nothing of {name} was refused, so there is nothing to forget. What it waits for instead: "
            f"`kubectl modelservice status {name}`."
        )
    given_up = _annotations(service).get(names.ROLLBACK) == failed
    marks = {names.RETRY: now, **({names.ROLLBACK: None} if given_up else {})}
    return Act(_annotated(marks), f"{failed} is tried again, through all gates.{_if_paused(service)}", failed)


def restart(service: Body, revision: str, now: str) -> Act:
    """Make a new revision of the same spec."""
    del revision
    name = service["metadata"]["name"]
    told = (
        f"{name} restarts: the same spec becomes a new revision, with new pods, through all gates.{_if_paused(service)}"
    )
    return Act(_annotated({names.RESTART: now}), told)


ACTS: Mapping[str, Callable[[Body, str, str], Act]] = {
    act.__name__: act for act in (pause, resume, promote, rollback, retry, restart)
}


# -- what the status tells


def _annotated(marks: Mapping[str, str | None]) -> Body:
    return {"metadata": {"annotations": dict(marks)}}


def _annotations(service: Body) -> Mapping[str, str]:
    return service["metadata"].get("annotations") or {}


def _if_paused(service: Body) -> str:
    if not is_paused(service):
        return ""
    return f" It is paused, so that waits for `kubectl modelservice resume {service['metadata']['name']}`."


def _stable(service: Body) -> str:
    return next(
        (str(each["name"]) for each in status_of(service).get("revisions") or () if each["role"] == "Stable"), ""
    )


def _desired(service: Body) -> str:
    """Return the revision that the spec describes."""
    return str((status_of(service).get("rollout") or {}).get("revision") or _stable(service))


def _coming(service: Body) -> list[str]:
    """Return the revisions that are on their way in, the one that the rollout is about first."""
    status = status_of(service)
    rollout = status.get("rollout") or {}
    if rollout.get("phase") in _ON_THE_WAY_BACK:
        return []
    candidates = [each["name"] for each in status.get("revisions") or () if each["role"] == "Candidate"]
    found = dict.fromkeys([rollout.get("revision"), *candidates])
    return [name for name in found if name and name != _stable(service)]


def _decisions(status: Body) -> dict[str, str]:
    """Return the newest decision about each revision, the newest first."""
    found: dict[str, str] = {}
    for line in status.get("history") or ():
        found.setdefault(line["revision"], line["decision"])
    return found


def _known(status: Body) -> list[str]:
    rollout = (status.get("rollout") or {}).get("revision")
    shown = [each["name"] for each in status.get("revisions") or ()]
    return [name for name in dict.fromkeys([rollout, *shown, *_decisions(status)]) if name]


def _promoted(status: Body) -> set[str]:
    """Return the revisions that were promoted and not given up since."""
    decisions = _decisions(status)
    served = {each["name"] for each in status.get("revisions") or () if each["role"] in {"Stable", "Previous"}}
    promoted = {name for name, decision in decisions.items() if decision == "Promoted"}
    return {name for name in served | promoted if decisions.get(name) not in _GIVEN_UP}


def _failed(service: Body) -> str:
    """Return the desired revision if it was refused or given up."""
    status, desired = status_of(service), _desired(service)
    phase = (status.get("rollout") or {}).get("phase")
    was_refused = phase == "Failed" or (phase == "Returning" and _decisions(status).get(desired) in _FAILED)
    return desired if was_refused or _annotations(service).get(names.ROLLBACK) == desired else ""
