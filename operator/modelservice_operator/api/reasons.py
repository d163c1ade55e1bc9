"""Every condition and every reason that a ModelService's status may carry, each with what it means.

docs/conditions.md holds the same tables; a test compares them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _Meant(StrEnum):
    """A word of the status, with its meaning."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member


class ConditionType(_Meant):
    """What is observed."""

    READY = "Ready", "The latest spec is in force: its revision serves, with all its pods."
    AVAILABLE = "Available", "The model answers requests now, be it with an older revision."
    RECONCILING = "Reconciling", "The operator works towards the latest spec. Present only while that is so."
    STALLED = "Stalled", "The operator cannot go on until somebody acts. Present only while that is so."
    SCHEDULED = "Scheduled", "Every pod has a node. Present only where devices are asked for or a pod has no node."
    TEMPLATE_OUTDATED = (
        "TemplateOutdated",
        "The operator would render the pods differently today; nothing is wrong. Present only while that is so.",
    )


class EventReason(_Meant):
    """What an Event tells beside the reasons of conditions."""

    REVISION_RECORDED = "RevisionRecorded", "The spec describes another revision than the one that serves."
    REVISION_PROMOTED = "RevisionPromoted", "A new revision has taken over from the one before."
    ROLLED_BACK = "RolledBack", "A revision that served before has taken over again."
    REVISION_SUPERSEDED = "RevisionSuperseded", "A revision that was in trouble gave way to a newer spec."
    REVISION_ADOPTED = "RevisionAdopted", "A revision serves whose record was lost; it was recorded anew."


class Reason(_Meant):
    """Why a condition is what it is."""

    # All is well.
    READY = "Ready", "The latest spec is in force."
    SERVING = "Serving", "At least one pod that carries traffic is ready."
    SCHEDULED = "Scheduled", "Every pod has a node."
    SCALED_TO_ZERO = "ScaledToZero", "No replicas are wanted, so nothing serves; that is what the spec asks for."

    RENDERED_DIFFERENTLY = (
        "RenderedDifferently",
        "The operator was upgraded or configured anew since it recorded the revision; it leaves the pods as they are.",
    )

    # On the way.
    ROLLING_OUT = "RollingOut", "A new revision takes over pod by pod."
    PAUSED = "Paused", "A new revision is held back by spec.rollout.paused."
    MODEL_LOADING = "ModelLoading", "A pod has started; its server fetches or loads the model."
    WAITING_FOR_CAPACITY = (
        "WaitingForCapacity",
        "A pod cannot be placed; the message is the scheduler's or the quota's. Waiting is no failure.",
    )
    UNSCHEDULABLE = "Unschedulable", "A pod has no node; the message is the scheduler's."
    NO_READY_POD = "NoReadyPod", "No pod that carries traffic is ready."

    # A pod does not come up; the revision that serves goes on serving, and the pod is tried again.
    FETCH_FAILED = "FetchFailed", "The model cannot be fetched; the message says from where and why."
    DIGEST_MISMATCH = "DigestMismatch", "What was fetched is not what the digest promises; it is not started."
    LOAD_FAILED = "LoadFailed", "The server found the model but cannot serve it; the message is the server's."
    IMAGE_PULL_FAILED = "ImagePullFailed", "A container image cannot be pulled; the message is the kubelet's."
    CONFIG_MISSING = "ConfigMissing", "A Secret, ConfigMap or key that the pod names does not exist."
    CRASH_LOOP = "CrashLoop", "A container keeps exiting; the message holds its exit code and last words."

    # Somebody must act.
    INVALID_SPEC = "InvalidSpec", "The spec breaks a rule; the message names the field and what to write."
    UNKNOWN_ACCELERATOR_CLASS = (
        "UnknownAcceleratorClass",
        "spec.accelerator.class is not in the operator's configuration; the message lists the classes that are.",
    )
    BAD_OVERLAY = "BadOverlay", "spec.podTemplate does not fit a pod, or touches what belongs to the operator."
    NAME_CONFLICT = "NameConflict", "An object that the ModelService needs exists and belongs to somebody else."
    MANAGED_BY_OTHER = (
        "ManagedByOther",
        "Another installation of the operator keeps this ModelService, but does not look after it.",
    )
    REJECTED = "Rejected", "The API server or an admission policy refuses a child; the message is theirs."
