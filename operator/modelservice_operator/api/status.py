"""The status of a ModelService: what the operator found, in the words of those who know."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from modelservice_operator.api.rules import Block

UNSEEN = -1  # observedGeneration of an object that no operator has looked at: never "Current" for kstatus

LARGEST_COUNT = 2**31 - 1
Count = Annotated[int, Field(strict=True, ge=0, json_schema_extra={"format": "int32"})]
Generation = Annotated[int, Field(strict=True, json_schema_extra={"format": "int64"})]


def _list_map(key: str, longest: int) -> Any:  # noqa: ANN401 - pydantic's Field is typed as whatever it describes
    return Field(
        max_length=longest,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]},
    )


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Block):
    """One observation about the ModelService."""

    type: str
    """What is observed: Ready, Available, Reconciling, Stalled, Scheduled, TemplateOutdated, Monitored,
    WithinBudget, AutoscalerReady."""

    status: ConditionStatus
    """Whether it holds: True, False or Unknown."""

    observed_generation: Annotated[Generation, Field(ge=0)]
    """The metadata.generation that the observation is about."""

    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When status last changed."""

    reason: str
    """Why, in one word."""

    message: str
    """Why, in a sentence: what is wrong, where, what to do."""


class Role(StrEnum):
    """The part that a revision plays."""

    STABLE = "Stable"
    CANDIDATE = "Candidate"
    PREVIOUS = "Previous"


class Revision(Block):
    """A revision that has pods or was the last to take over."""

    name: str
    """Name of the revision: of its ControllerRevision and of its Deployment."""

    role: Role
    """`Stable`: serves. `Candidate`: on its way in. `Previous`: on its way out."""

    model: str
    """The model's uri, with the digest once it is known."""

    replicas: Count
    """Number of pods wanted."""

    ready: Count
    """Number of pods that are ready."""

    weight: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?%$")]
    """Share of the requests, such as 50%."""


class Gate(Block):
    """What a revision on its way in must reach."""

    name: str
    """What is measured."""

    verdict: str
    """`Passed`, `Failed`, or `Pending` while nobody knows."""

    value: str | None = None
    """What was measured."""

    limit: str | None = None
    """What it must keep."""


class RolloutStatus(Block):
    """The rollout under way, or given up."""

    phase: str
    """What it is doing, in one word."""

    revision: str
    """Name of the revision that is wanted."""

    step: Count | None = None
    """Number of the step of spec.rollout.steps that was reached last."""

    gates: Annotated[tuple[Gate, ...], _list_map("name", 16)] = ()
    """What the revision must reach."""


class Decision(Block):
    """What became of a revision."""

    revision: str
    """Name of the revision."""

    decision: str
    """`Promoted`, `RolledBack`, `Failed` (it never had traffic) or `Superseded`."""

    reason: str
    """Why, in one word."""

    message: str
    """Why, in a sentence."""

    decided_time: str
    """When it was decided."""

    measured: Annotated[Mapping[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """What was measured of it."""

    log: str | None = None
    """The end of the log of a container of it that failed."""


class Measured(Block):
    """What the evaluation of the stable revision measured."""

    saturation_concurrency: Annotated[Count, Field(ge=1)]
    """The fewest requests at once that a pod can do no more than."""


class ObjectiveStatus(Block):
    """How an objective of spec.slo is kept."""

    name: str
    """Name of the objective."""

    target: str
    """What is promised."""

    budget_remaining: Annotated[str, Field(pattern=r"^-?[0-9]+%$")] | None = None
    """How much of the error budget is left; 0% or less where it is spent. Absent where nobody knows."""

    burn_rate: Annotated[str, Field(pattern=r"^[0-9]+[.][0-9]$")] | None = None
    """How many times as fast as allowed it went over the last hour. Absent where nobody knows."""


class Scaled(Block):
    """How the number of replicas was changed last."""

    replicas: Count
    """How many it became."""

    rule: str
    """Which rule decided, in one word."""

    message: str
    """What was seen, in a sentence."""

    decided_time: str
    """When it was decided."""

    share: str = ""
    """Of the saturation concurrency, what was meant to be used; learnt from how spec.slo's latency was kept."""


class ModelServiceStatus(Block):
    """What is: written by the operator, never by users."""

    observed_generation: Generation = UNSEEN
    """The metadata.generation that the operator last acted on; -1 before it has seen the object."""

    conditions: Annotated[tuple[Condition, ...], _list_map("type", 16)] = ()
    """Observations, each with a reason and a sentence. Ready says whether the latest spec is in force."""

    url: str | None = None
    """Address of the inference protocol inside the cluster."""

    replicas: Count | None = None
    """Number of pods that carry traffic, ready or not."""

    ready_replicas: Count | None = None
    """Number of pods that carry traffic and are ready."""

    selector: str | None = None
    """Label selector of the pods that carry traffic, for autoscalers."""

    revisions: Annotated[tuple[Revision, ...], _list_map("name", 16)] = ()
    """The revisions that have pods."""

    rollout: RolloutStatus | None = None
    """The rollout under way or given up, if any."""

    history: Annotated[tuple[Decision, ...], Field(max_length=10)] = ()
    """The last ten decisions, the newest first."""

    measured: Measured | None = None
    """What the evaluation of the stable revision measured."""

    autoscaling: Scaled | None = None
    """How engine Builtin changed the number of replicas last."""

    slo: Annotated[tuple[ObjectiveStatus, ...], _list_map("name", 16)] = ()
    """How the objectives of spec.slo are kept, the one with the least error budget first."""
