"""Condition Monitored: whether what is there for Prometheus and Alertmanager is taken up; if not, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelservice_operator.api.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelservice_operator.monitoring.collectors import Collectors, Verdict
    from modelservice_operator.optional import OptionalChild

Body = dict[str, Any]
Judgement = tuple[str, Reason, str]
"""Status, reason and message of a condition."""

_MOST_TOLD = 3


def monitored(children: Iterable[OptionalChild], collectors: Collectors, left_out: Sequence[str] = ()) -> Judgement:
    """Judge all that a service has for them: what is wrong first, then what is not known.

    Whatever that is, alerts that are left out are told, too, one sentence for each.
    """
    found = [each for child in children if (each := _judge(child, collectors))]
    found.append(("True", Reason.SELECTED, "Whatever is there for Prometheus and Alertmanager is selected."))
    holds, reason, message = next((each for each in found if each[0] == "False"), found[0])
    if left_out:
        message = f"{message} Left out, as they could never fire: {'; '.join(left_out)}."
    return holds, reason, message


def _judge(child: OptionalChild, collectors: Collectors) -> Judgement | None:
    """Say what is wrong with one of them, or not known of it; None where nothing is."""
    if child.refusal:
        return "False", Reason.NOT_ALLOWED, child.refusal
    if child.wanted is None:
        return None
    kind, name = child.resource.kind, child.wanted["metadata"]["name"]
    if not child.possible:
        words = (
            f"There can be no {kind}: {child.why_not}. Where the Prometheus Operator is installed, it is made at once."
        )
        return "Unknown", Reason.NOT_MADE, words
    live = child.live.get(name)
    if live is None:
        return "Unknown", Reason.NOT_MADE, f"{kind} {name} is not there yet."
    if words := _refused(live):
        return "False", Reason.NOT_ACCEPTED, f"The Prometheus Operator does not accept {kind} {name}: {words}"
    verdicts = collectors.verdicts(kind, live["metadata"].get("labels") or {})
    if any(each.selects for each in verdicts):
        return None
    if collectors.unseen:
        words = f"Whether somebody selects {kind} {name} is not known: {collectors.unseen}."
        return "Unknown", Reason.SELECTION_UNKNOWN, words
    return "False", Reason.NOT_SELECTED, f"Nobody selects {kind} {name}. {_remedy(kind, verdicts)}"


def _refused(live: Body) -> str:
    """Return why the Prometheus Operator refuses an object, if it reports that (from 0.86 on, with a feature gate)."""
    bindings = (live.get("status") or {}).get("bindings") or ()
    return next(
        (
            str(each.get("message") or each.get("reason", "it does not say why"))
            for binding in bindings
            for each in binding.get("conditions") or ()
            if each["type"] == "Accepted"
            and each["status"] == "False"
            and each.get("observedGeneration") == live["metadata"]["generation"]
        ),
        "",
    )


def _remedy(kind: str, verdicts: list[Verdict]) -> str:
    """Say what everybody wants who could select it."""
    if not verdicts:
        return "The cluster has no object of the Prometheus Operator that could; make one."
    wanted = "; ".join(f"{each.collector} {each.because}" for each in verdicts[:_MOST_TOLD])
    more = f"; and {len(verdicts) - _MOST_TOLD} more" if len(verdicts) > _MOST_TOLD else ""
    labels = any(each.lacks for each in verdicts)
    return f"{wanted}{more}." + (
        f" Labels of every {kind} are set in monitoring.labels (values.yaml)." if labels else ""
    )
