"""A ModelService as text for people, and as one object for scripts. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from modelservice_operator import names
from modelservice_operator.plugin import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from modelservice_operator.plugin.words import Body

_DIGEST = re.compile(r"(@sha256:[0-9a-f]{12})[0-9a-f]+")


class Colour(StrEnum):
    """ANSI colours by what they mean."""

    GOOD = "32"
    BAD = "31"
    OPEN = "33"
    QUIET = "2"
    BOLD = "1"
    NONE = ""


class Cell(NamedTuple):
    """A word of a table, with its colour."""

    text: str
    colour: Colour = Colour.NONE


_COLOURS: Mapping[str, Colour] = {
    **dict.fromkeys(("Passed", "Promoted", "Ready", "Stable"), Colour.GOOD),
    **dict.fromkeys(("Failed", "RolledBack"), Colour.BAD),
    **dict.fromkeys(("Pending", "Inconclusive", "Candidate", "Superseded"), Colour.OPEN),
    **dict.fromkeys(("Previous", "Terminating"), Colour.QUIET),
}


def status(service: Body, pods: Sequence[Body] | None, *, colours: bool = False) -> list[str]:
    """Return the lines of a status; `pods` is None where nobody may see them."""
    name, told = service["metadata"]["name"], words.status_of(service)
    url = f", {told['url']}" if told.get("url") else ""
    paused = ", paused" if words.is_paused(service) else ""
    lines = [
        _paint(Cell(name, Colour.BOLD), colours=colours)
        + f" in namespace {service['metadata']['namespace']}{url}{paused}"
    ]
    if not words.is_current(service):
        lines.append(f"  {words.unseen(service)}")
    lines += _table(map(_condition, told.get("conditions") or ()), colours=colours, indent="  ")
    if rollout := told.get("rollout"):
        lines += [words.rollout(rollout), *_table(map(_gate, rollout.get("gates") or ()), colours=colours, indent="  ")]
    if objectives := told.get("slo"):
        lines += ["Error budgets", *_table(map(_objective, objectives), colours=colours, indent="  ")]
    lines += _tree(told.get("revisions") or (), pods, colours=colours)
    if history := told.get("history"):
        lines.append(f"Last decision: {words.decision(history[0])}")
    return lines


def status_object(service: Body, pods: Sequence[Body] | None) -> Body:
    """Return the status with the pods in their revisions; without them where nobody may see them."""
    told = words.status_of(service)
    found: Body = {
        "name": service["metadata"]["name"],
        "namespace": service["metadata"]["namespace"],
        "generation": service["metadata"]["generation"],
        "paused": words.is_paused(service),
        **told,
    }
    if pods is not None:
        found["revisions"] = [
            {**each, "pods": [_pod_object(pod) for pod in _of(each["name"], pods)]}
            for each in told.get("revisions") or ()
        ]
    return found


def history(lines: Sequence[Body], *, colours: bool = False) -> list[str]:
    """Return the decisions as a table, the newest first, each with what was measured, why, and the end of a log."""
    rows = [
        (
            Cell(line.get("decidedTime", "")),
            Cell(line["revision"]),
            _word(line["decision"]),
            Cell(line.get("reason", "")),
            Cell(", ".join(f"{name} {value}" for name, value in (line.get("measured") or {}).items())),
        )
        for line in lines
    ]
    heads = tuple(Cell(head, Colour.QUIET) for head in ("TIME", "REVISION", "DECISION", "REASON", "MEASURED"))
    first, *rest = _table([heads, *rows], colours=colours)
    found = [first]
    for row, line in zip(rest, lines, strict=True):
        found += [row, *(f"  {words.one_line(part)}" for part in line.get("message", "").splitlines())]
        found += [f"    {words.one_line(part)}" for part in line.get("log", "").splitlines()]
    return found


# -- rows


def _condition(found: Body) -> tuple[Cell, ...]:
    kind, holds = found["type"], found["status"]
    colour = Colour.GOOD if (holds == "True") is (kind != "Stalled") else Colour.BAD
    if holds == "Unknown" or kind in {"Reconciling", "TemplateOutdated"}:
        colour = Colour.OPEN
    return Cell(kind), Cell(holds, colour), Cell(f"{found['reason']}: {found['message']}")


def _gate(found: Body) -> tuple[Cell, ...]:
    return Cell(found["name"]), _word(found["verdict"]), Cell(words.gate(found))


def _objective(found: Body) -> tuple[Cell, ...]:
    left, burns = found.get("budgetRemaining"), found.get("burnRate")
    if left is None:
        return Cell(found["name"]), Cell(found["target"]), Cell("unknown", Colour.OPEN)
    colour = Colour.BAD if int(left.rstrip("%")) <= 0 else Colour.GOOD
    return (
        Cell(found["name"]),
        Cell(found["target"]),
        Cell(f"{left} left", colour),
        Cell(f"burn rate {burns}" if burns else ""),
    )


def _revision(found: Body) -> tuple[Cell, ...]:
    return (
        Cell(found["name"], Colour.BOLD),
        _word(found["role"]),
        Cell(f"{found['ready']}/{found['replicas']} ready"),
        Cell(found["weight"]),
        Cell(_DIGEST.sub(r"\1", found["model"])),
    )


def _pod(found: Body) -> tuple[Cell, ...]:
    told = _pod_object(found)
    restarts = f"restarts {told['restarts']}" if told["restarts"] else ""
    state = _word(told["state"], Colour.OPEN)
    return Cell(told["name"]), state, Cell(told["node"]), Cell(restarts), Cell(told["message"])


def _word(text: str, otherwise: Colour = Colour.NONE) -> Cell:
    return Cell(text, _COLOURS.get(text, otherwise))


# -- the tree


def _tree(revisions: Sequence[Body], pods: Sequence[Body] | None, *, colours: bool) -> Iterator[str]:
    if not revisions:
        return
    yield "Revisions" + (" (you may not list pods here)" if pods is None else "")
    for number, line in enumerate(_table(map(_revision, revisions), colours=colours), 1):
        is_last = number == len(revisions)
        yield f"{'└─' if is_last else '├─'} {line}"
        own = _of(revisions[number - 1]["name"], pods or ())
        for count, pod in enumerate(_table(map(_pod, own), colours=colours), 1):
            yield f"{'   ' if is_last else '│  '}{'└─' if count == len(own) else '├─'} {pod}"


def _of(revision: str, pods: Sequence[Body]) -> list[Body]:
    own = [pod for pod in pods if pod["metadata"]["labels"].get(names.REVISION) == revision]
    return sorted(own, key=lambda pod: str(pod["metadata"]["name"]))


def _pod_object(pod: Body) -> Body:
    told = pod.get("status") or {}
    state, message = _state(pod, told)
    containers = [*(told.get("initContainerStatuses") or ()), *(told.get("containerStatuses") or ())]
    return {
        "name": pod["metadata"]["name"],
        "state": state,
        "message": message,
        "node": (pod.get("spec") or {}).get("nodeName", ""),
        "restarts": sum(each.get("restartCount", 0) for each in containers),
    }


def _state(pod: Body, told: Body) -> tuple[str, str]:
    """Return in a word or two how a pod is, and the message of whoever says so."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating", ""
    conditions = {each["type"]: each for each in told.get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True":
        return "Ready", ""
    if (placed := conditions.get("PodScheduled", {})).get("status") == "False":
        return str(placed.get("reason", "Unschedulable")), str(placed.get("message", ""))
    if told.get("reason"):  # Evicted
        return str(told["reason"]), str(told.get("message", ""))
    for each in (*(told.get("initContainerStatuses") or ()), *(told.get("containerStatuses") or ())):
        state = each.get("state") or {}
        held = state.get("waiting") or state.get("terminated") or {}
        if (state.get("terminated") or {}).get("exitCode") == 0 or held.get("reason") == "PodInitializing":
            continue  # the fetch is done, or the server has its turn later
        return f"{each['name']}: {held.get('reason', 'running')}", str(held.get("message", ""))
    return str(told.get("phase", "Pending")), ""


# -- tables


def _table(rows: Iterable[tuple[Cell, ...]], *, colours: bool, indent: str = "") -> list[str]:
    """Align the columns; one in which nothing stands takes no room."""
    rows = list(rows)
    widths = [max(len(cell.text) for cell in column) for column in zip_longest(*rows, fillvalue=Cell(""))]
    lines = (
        [_paint(cell, width, colours=colours) for cell, width in zip(row, widths, strict=False) if width]
        for row in rows
    )
    return [(indent + "  ".join(line)).rstrip() for line in lines]


def _paint(cell: Cell, width: int = 0, *, colours: bool) -> str:
    text = words.one_line(cell.text)
    padding = " " * (width - len(text))
    return f"\033[{cell.colour}m{text}\033[0m{padding}" if colours and cell.colour and text else text + padding
