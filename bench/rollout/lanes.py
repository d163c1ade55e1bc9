"""Plays changes on one service, one after the other, while it is asked all the time."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from changes import FIRST, RETURNED, SETTLED, End
from e2e.modelservices import ModelService
from outcomes import Outcome, State, revision_of, row
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from changes import Change, Spec
    from controlplane.shell import Shell
    from e2e.client import Client, Load
    from e2e.kubectl import Kubectl, Object

ASKERS = 8
PATIENCE_SECONDS = 240.0  # a server starts in four seconds, or in forty where others keep the machine busy


class Stage(NamedTuple):
    """Where and with what all lanes play."""

    kubectl: Kubectl
    client: Client
    shell: Shell
    rows: list[list[float]]


def play(name: str, changes: Sequence[Change], stage: Stage) -> tuple[list[Outcome], Load]:
    """Bring up a service, play, and print a row for each change; return what became of them, and of the requests."""
    service = ModelService(stage.kubectl, name)
    service.apply(**FIRST)
    service.until("Ready", "True", patience=PATIENCE_SECONDS)
    service.until_ready(2)
    outcomes = []
    with stage.client.load(name, stage.rows, askers=ASKERS) as load:
        load.until_answered_by(*service.pods())
        for change in changes:
            outcome = Lane(service, stage.shell, load).play(change)
            outcomes.append(outcome)
            load.until_more()
            print(f"{name:6} {row(outcome, load)}", flush=True)
    service.delete()
    return outcomes, load


class Lane:
    """A service, before one change."""

    def __init__(self, service: ModelService, shell: Shell, load: Load) -> None:
        self._service, self._shell, self._load = service, shell, load
        self._desired, self._stable = desired(service.get()), service.stable
        self._known = [key(each) for each in service.get()["status"]["history"]]

    def play(self, change: Change) -> Outcome:
        """Do all that a change is, and wait for its end."""
        began = time.monotonic()
        revision, line, found = "", None, End()
        try:
            revision = self._do(change)
            if change.ends.decision:
                line = self._decision_on(revision)
                found = End(line["decision"], line["reason"])
            elif change.ends != RETURNED:
                found = self._wait(change.ends)
            if change.ends.decision or change.ends == RETURNED:
                self._settle(change, line)
            as_meant = found.decision == change.ends.decision and change.ends.reason in {"", found.reason}
            state = State.AS_MEANT if as_meant else State.OTHERWISE
        except AssertionError as error:
            print(f"{self._service.name}, {change.title}: {error}", file=sys.stderr, flush=True)
            state = State.STUCK
        decided_time = line["decidedTime"] if line else ""
        return Outcome(change, revision, found, state, time.monotonic() - began, decided_time)

    def _do(self, change: Change) -> str:
        """Return the revision that this is about."""
        revision = self._desired
        if change.spec is not None:
            revision = self._apply(change.spec)
        if change.at:
            self._until_phase(change.at, revision)
        if isinstance(change.then, dict):
            self._apply(change.then)
        elif change.then:
            self._shell.answer(change.then, self._service.name)
            if change.then == "restart":
                revision = self._until_other(self._desired)
        return revision

    def _apply(self, spec: Spec) -> str:
        before = desired(self._service.get())
        self._service.apply(**spec)
        return self._until_other(before)

    def _until_other(self, before: str) -> str:
        def other() -> str:
            found = desired(self._service.get())
            return found if found != before else ""

        return until(other, "the status tells of another revision", patience=PATIENCE_SECONDS)

    def _until_phase(self, phase: str, revision: str) -> None:
        """Wait; where it shares the traffic, it has to have answered, too."""
        until(
            lambda: (self._service.get()["status"].get("rollout") or {}).get("phase", SETTLED) == phase,
            f"revision {revision} is {phase}",
            patience=PATIENCE_SECONDS,
            details=self._service.describe,
        )
        if phase == "Analysing":
            until(lambda: revision in map(revision_of, self._load.answers), f"requests reach revision {revision}")

    def _decision_on(self, revision: str) -> Object:
        """Return the first new line of the history about a revision."""

        def line() -> Object | None:
            history = reversed(self._service.get()["status"]["history"])
            return next(
                (each for each in history if each["revision"] == revision and key(each) not in self._known), None
            )

        return (
            until(
                line, f"something is decided on {revision}", patience=PATIENCE_SECONDS, details=self._service.describe
            )
            or {}
        )

    def _wait(self, ends: End) -> End:
        """Wait until the status says for what the revision waits."""

        def waits() -> bool:
            ready = self._service.condition("Ready")
            return bool(ready.get("reason") == ends.reason and ends.words in ready["message"])

        until(waits, f"the status says {ends}", patience=PATIENCE_SECONDS, details=self._service.describe)
        return End(reason=ends.reason)

    def _settle(self, change: Change, line: Object | None) -> None:
        """Wait until nothing moves any more: the promised pods of one revision, and none but those that are kept."""
        has_failed = line is not None and line["decision"] in {"Failed", "RolledBack"}
        condition = ("Stalled", "True", line["reason"]) if has_failed and line else ("Ready", "True", "")
        self._service.until(*condition, patience=PATIENCE_SECONDS)
        kept = "keepPrevious" in (change.spec or {}).get("rollout", {})

        def still() -> bool:
            found = self._service.get()["status"]
            pods = [each["metadata"]["name"] for each in self._service.children("pods")]
            stable = self._service.stable
            assert all(revision_of(pod) in {stable, self._stable if kept else stable} for pod in pods), pods
            return bool(found["readyReplicas"] == 2)

        until(still, "two pods of one revision are ready", patience=PATIENCE_SECONDS, details=self._service.describe)
        if has_failed or change.ends == RETURNED:
            assert line is None or self._service.stable != line["revision"]


def desired(service: Object) -> str:
    """Return the revision that the spec describes."""
    status = service["status"]
    stable = next((each["name"] for each in status["revisions"] if each["role"] == "Stable"), "")
    return str((status.get("rollout") or {}).get("revision") or stable)


def key(line: Object) -> tuple[str, str, str]:
    """Return what tells a line of the history from others."""
    return line["revision"], line["decision"], line["decidedTime"]
