"""How parts of a status are said. Pure; what a status lacks is left out."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

Body = dict[str, Any]

_NAMED = 5  # of the services of a namespace, where none is close to what was meant


def one_line(text: str) -> str:
    """Fit a text of anybody, also a container's last words, into a line of a terminal."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def status_of(service: Body) -> Body:
    """Return the status, empty before an operator has written one."""
    return service.get("status") or {}


def is_current(service: Body) -> bool:
    """Tell whether the status is about the latest spec."""
    return bool(status_of(service).get("observedGeneration") == service["metadata"]["generation"])


def is_paused(service: Body) -> bool:
    """Tell whether a user holds rollouts back."""
    return bool(((service.get("spec") or {}).get("rollout") or {}).get("paused"))


def unseen(service: Body) -> str:
    """Say that no operator has looked at the latest spec."""
    generation = service["metadata"]["generation"]
    return f"No operator has looked at generation {generation} of the spec yet."


def condition(service: Body, kind: str) -> str:
    """Say why a condition of the latest spec is what it is."""
    if not is_current(service):
        return unseen(service)
    found = (each for each in status_of(service).get("conditions") or () if each["type"] == kind)
    return next((one_line(f"{each['reason']}: {each['message']}") for each in found), unseen(service))


def rollout(found: Body) -> str:
    """Say where a rollout is."""
    step = f", step {found['step']}" if "step" in found else ""
    weight = f", {found['weight']} of the requests" if found.get("weight") else ""
    message = f": {found['message']}" if found.get("message") else ""
    return one_line(f"Rollout of {found['revision']}: {found['phase']}{step}{weight}{message}")


def gate(found: Body) -> str:
    """Say what was measured, and what is allowed."""
    limit = f"limit {found['limit']}" if found.get("limit") else ""
    return ", ".join(filter(None, (found.get("value"), limit)))


def decision(found: Body) -> str:
    """Say what was decided about a revision, and why."""
    reason = f", {found['reason']}" if found.get("reason") else ""
    message = f": {found['message']}" if found.get("message") else ""
    return one_line(f"{found['revision']} {found['decision']}{reason}{message}")


def absent(name: str, namespace: str, *, has_namespace: bool, known: Collection[tuple[str, str]]) -> str:
    """Say that there is no such ModelService, and which may be meant; `known` are those that we may list."""
    if not has_namespace:
        return f"There is no namespace {namespace}. Choose one with -n; `kubectl get namespaces` lists them."
    here = sorted(each for place, each in known if place == namespace)
    elsewhere = sorted(place for place, each in known if each == name and place != namespace)
    start = f"There is no ModelService {name} in namespace {namespace}."
    if elsewhere:
        return f"{start} There is one in {' and '.join(elsewhere)}: give -n {elsewhere[0]}."
    if close := get_close_matches(name, here):
        return f"{start} Did you mean {' or '.join(close)}?"
    if here:
        more = " and others" if len(here) > _NAMED else ""
        return f"{start} It has {', '.join(here[:_NAMED])}{more}."
    return f"{start} It has none that you may list; choose another with -n, or another --context."
