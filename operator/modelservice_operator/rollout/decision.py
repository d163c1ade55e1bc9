"""What a plan can be: one step, with what it writes into the ledger or asks of pods and traffic. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from modelservice_operator.rollout.situation import Verdict


class Phase(StrEnum):
    """Where the service is on its way to the desired revision."""

    SETTLED = "Settled"
    STARTING = "Starting"
    EVALUATING = "Evaluating"
    ROLLING = "Rolling"
    ANALYSING = "Analysing"
    RETURNING = "Returning"
    WAITING = "Waiting"
    PAUSED = "Paused"
    FROZEN = "Frozen"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Record:
    """Write the desired revision into the ledger."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Write a lost line of the ledger anew from the Deployment that serves."""

    revision: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Write a verdict, and with a promotion number who is stable, into the ledger."""

    revision: str
    verdict: Verdict
    promotion: int = 0
    reason: str = ""
    message: str = ""
    measured: Mapping[str, str] = field(default_factory=dict)
    log: str = ""  # the end of that of a container that failed, added where it can be read


@dataclass(frozen=True, slots=True)
class Mark:
    """Note in the ledger how far a revision has come."""

    revision: str
    step: int
    makes_room: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. A plan that writes the ledger asks for nothing else: the ledger comes before pods and traffic."""

    phase: Phase
    message: str = ""  # what is waited for; empty only when settled
    ledger: Record | Adopt | Judge | Mark | None = None
    replicas: dict[str, int] = field(default_factory=dict)  # revisions not named here get zero
    traffic: tuple[str, ...] = ()
    evaluate: str = ""  # the revision to be evaluated
    again: timedelta | None = None  # when time alone may change the plan
