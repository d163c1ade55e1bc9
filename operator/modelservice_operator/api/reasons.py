"""Every condition and every reason that a ModelService's status may carry, with what it means and what to do.

docs/troubleshooting.md is made of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _Meant(StrEnum):
    """A word of the status, with its meaning and, for reasons, what to do."""

    meaning: str
    remedy: str

    def __new__(cls, word: str, meaning: str, remedy: str = "") -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning, member.remedy = meaning, remedy
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
    MONITORED = (
        "Monitored",
        "What is there for Prometheus and Alertmanager is taken up. Present where spec.slo or spec.monitoring asks.",
    )
    WITHIN_BUDGET = (
        "WithinBudget",
        "Every objective of spec.slo has some of its error budget left. Present only where there is a spec.slo.",
    )
    AUTOSCALER_READY = (
        "AutoscalerReady",
        "Replicas follow the requests. Present only where there is a spec.autoscaling.",
    )


class EventReason(_Meant):
    """What an Event tells beside the reasons of conditions."""

    REVISION_RECORDED = "RevisionRecorded", "The spec describes another revision than the one that serves."
    REVISION_PROMOTED = "RevisionPromoted", "A new revision has taken over from the one before."
    ROLLED_BACK = "RolledBack", "A revision that served before has taken over again."
    REVISION_SUPERSEDED = (
        "RevisionSuperseded",
        "A revision that was in trouble, or had not shown yet what it can, gave way to a newer spec.",
    )
    REVISION_FAILED = "RevisionFailed", "A revision was refused or taken back; the message has the evidence."
    REVISION_ADOPTED = "RevisionAdopted", "A revision serves whose record was lost; it was recorded anew."
    SCALED = "Scaled", "The operator has changed the number of replicas; the message has the rule and what it saw."


class Reason(_Meant):
    """Why a condition is what it is, and what to do about it."""

    # All is well.
    READY = "Ready", "The latest spec is in force.", "Nothing."
    SERVING = "Serving", "At least one pod that carries traffic is ready.", "Nothing."
    SCHEDULED = "Scheduled", "Every pod has a node.", "Nothing."
    SCALED_TO_ZERO = (
        "ScaledToZero",
        "No replicas are wanted, so nothing serves; that is what the spec asks for.",
        "To serve again: `kubectl scale modelservice NAME --replicas=1`.",
    )

    RENDERED_DIFFERENTLY = (
        "RenderedDifferently",
        "The operator was upgraded or configured anew since it recorded the revision; it leaves the pods as they are.",
        (
            "Nothing, or roll the service to the template of today, through all gates: `kubectl annotate --overwrite "
            'modelservice NAME modelservice.dev/restart="$(date +%s)"`.'
        ),
    )

    SELECTED = "Selected", "Whatever is there for Prometheus and Alertmanager is selected by one of theirs.", "Nothing."

    WITHIN_BUDGET = "WithinBudget", "Every objective has some of its error budget left.", "Nothing."

    # On the way.
    ROLLING_OUT = "RollingOut", "A new revision takes over pod by pod.", "Wait."
    PAUSED = (
        "Paused",
        "A new revision is held back by spec.rollout.paused.",
        "Set `spec.rollout.paused: false` when it may go on.",
    )
    EVALUATING = (
        "Evaluating",
        "A new revision is asked the dataset of spec.evaluation; it has no traffic yet.",
        (
            "Wait. Where the message says why an evaluation came to no end, mend that; it is tried again. "
            "`kubectl logs job/REVISION-eval` has the rest."
        ),
    )
    ANALYSING = (
        "Analysing",
        "A new revision has a share of the traffic, and is judged by what it answers.",
        (
            "Wait, send it requests, or promote it by hand: `kubectl annotate --overwrite modelservice NAME "
            "modelservice.dev/promote=REVISION`."
        ),
    )
    FROZEN = (
        "Frozen",
        "The error budget is spent, so no new revision is let in; ways back stay open.",
        (
            "Wait until the budget has grown back. A revision that mends what spends it can be promoted by hand, as "
            "with Analysing; `spec.rollout.freezeOnBudgetExhausted: false` never freezes."
        ),
    )
    MODEL_LOADING = (
        "ModelLoading",
        "A pod has started; its server fetches or loads the model.",
        (
            "Wait. A server that takes longer than `spec.startupTimeout` is started again; give a large model more "
            "time there. `kubectl logs POD -c fetch` and `-c server` tell how far it is."
        ),
    )
    WAITING_FOR_CAPACITY = (
        "WaitingForCapacity",
        "A pod cannot be placed; the message is the scheduler's or the quota's. Waiting is no failure.",
        (
            "Make room (a node, a larger quota), or ask for less: `spec.resources`, `spec.accelerator`, "
            "`spec.replicas`. It goes on by itself."
        ),
    )
    UNSCHEDULABLE = (
        "Unschedulable",
        "A pod has no node; the message is the scheduler's.",
        (
            "As for WaitingForCapacity. A pod that no node could ever take has a node selector, a toleration or a "
            "volume that does not fit: compare `spec.podTemplate` and the accelerator class with `kubectl describe "
            "nodes`."
        ),
    )
    NO_READY_POD = (
        "NoReadyPod",
        "No pod that carries traffic is ready.",
        (
            "See the reason of condition Ready; without any, the pods' own: `kubectl describe pods -l "
            "modelservice.dev/name=NAME`."
        ),
    )

    # A pod does not come up; the revision that serves goes on serving, and the pod is tried again.
    FETCH_FAILED = (
        "FetchFailed",
        "The model cannot be fetched; the message says from where and why.",
        (
            "The message says what; [model sources](sources.md#when-it-fails) has a table. It is tried again, and goes "
            "on with what is there already."
        ),
    )
    DIGEST_MISMATCH = (
        "DigestMismatch",
        "What was fetched is not what the digest promises; it is not started.",
        (
            "Find out who changed the source. If it was meant, put the model under a uri of its own, or give its "
            "`spec.model.digest`; either makes a new revision."
        ),
    )
    NOT_TRUSTED = (
        "NotTrusted",
        "The model is not signed as it is now with a key that the administrator trusts; it is not started.",
        (
            "Sign it with `model-server package --sign-key` and give it a uri of its own; or ask the administrator for "
            "`trustedKeys` in the chart's values, then set the annotation `modelservice.dev/restart`."
        ),
    )
    LOAD_FAILED = (
        "LoadFailed",
        "The server found the model but cannot serve it; the message is the server's.",
        "Look at the model with `model-server inspect DIR`, mend it, and give the new one a uri of its own.",
    )
    IMAGE_PULL_FAILED = (
        "ImagePullFailed",
        "A container image cannot be pulled; the message is the kubelet's.",
        (
            "Check the name of the image (`spec.runtime.image`, or `images.server` in the chart's values) and, for a "
            "private registry, `imagePullSecrets` in `spec.podTemplate.spec`."
        ),
    )
    CONFIG_MISSING = (
        "ConfigMissing",
        "A Secret, ConfigMap or key that the pod names does not exist.",
        "Create what the message names, in the namespace of the ModelService. It goes on by itself.",
    )
    EVICTED = (
        "Evicted",
        "A node has ended a pod to save its disk or memory; the message is the kubelet's.",
        (
            "Where it names a volume or ephemeral storage, the model does not fit: raise that limit in "
            "`spec.podTemplate`, or keep the model on a claim (`spec.model.cacheClaimRef`). Where it names memory, "
            "raise `spec.resources.requests.memory`."
        ),
    )
    MEMORY_TOO_SMALL = (
        "MemoryTooSmall",
        "The model is larger than the memory that its server may use; the server is tried all the same.",
        "Raise `spec.resources.limits.memory`; `model-server size DIR` tells what the model needs.",
    )
    CRASH_LOOP = (
        "CrashLoop",
        "A container keeps exiting; the message holds its exit code and last words.",
        (
            "`kubectl logs POD -c server --previous` has the rest. Code 137 is mostly memory: raise "
            "`spec.resources.limits.memory`."
        ),
    )

    # Nobody may be watching; the model serves all the same.
    NOT_MADE = (
        "NotMade",
        "A ServiceMonitor, PrometheusRule or AlertmanagerConfig cannot be made, or is not there yet.",
        (
            "Install the Prometheus Operator, and it is made at once. Without it have Prometheus follow the "
            "`prometheus.io` annotations of the Service `NAME-metrics`."
        ),
    )
    NOT_SELECTED = (
        "NotSelected",
        "No Prometheus or Alertmanager object selects one of them; the message says what each of those wants.",
        (
            "Add the label that the message names to `monitoring.labels` in the chart's values, label the namespace, "
            "or change the selector."
        ),
    )
    SELECTION_UNKNOWN = (
        "SelectionUnknown",
        "The operator may not read the Prometheus and Alertmanager objects, or none but those of some namespaces.",
        "Nothing, or let an operator that looks after all namespaces, with the rights of the chart, do it.",
    )
    NOT_ACCEPTED = (
        "NotAccepted",
        "The Prometheus Operator refuses one of them; the message is its own.",
        "Mostly a Secret or a key that `spec.monitoring` names does not exist: make it.",
    )

    # What was promised was not kept, or nobody knows; the model serves all the same.
    BUDGET_EXHAUSTED = (
        "BudgetExhausted",
        "More requests were bad than the objective allows over its window.",
        "Find out why with the runbook of the alert; the budget grows back as the window moves on.",
    )
    NO_PROMETHEUS = (
        "NoPrometheus",
        "The operator's configuration names no Prometheus, so it cannot tell how much of the error budget is left.",
        "Nothing, or give the operator one: `prometheus.url` in the chart's values. Alerts do not depend on it.",
    )
    PROMETHEUS_UNAVAILABLE = (
        "PrometheusUnavailable",
        "The Prometheus of the operator's configuration has not answered yet, or not for two minutes.",
        "See the operator's log for what it said, and `prometheus.url` in the chart's values. It is asked again.",
    )
    NO_BUDGET_DATA = (
        "NoBudgetData",
        "Prometheus answers, but has no error budget of an objective.",
        (
            "Wait ten minutes after the first requests. After that see whether the rules of the PrometheusRule "
            "`NAME-slo` are loaded (condition Monitored) and the model is scraped."
        ),
    )

    # A revision was judged, and another one serves. Somebody must act.
    GATE_FAILED = (
        "GateFailed",
        "The revision did not reach what spec.evaluation asks for; it never had traffic.",
        (
            "Give the ModelService a better model. To try the same one again, with other bounds perhaps: give the "
            "annotation `modelservice.dev/retry` any new value."
        ),
    )
    ERROR_RATE = (
        "ErrorRate",
        "Too many of the revision's answers were errors; it was taken back.",
        (
            "Find out why in its logs, and give the ModelService a model that answers. To try the same one again: as "
            "for GateFailed."
        ),
    )
    LATENCY_REGRESSION = (
        "LatencyRegression",
        "The revision answered more slowly than spec.rollout.analysis allows; it was taken back.",
        "Make it faster, or allow more and order another try, as for GateFailed.",
    )
    NEVER_READY = (
        "NeverReady",
        "No pod of the revision became ready in time; it never had traffic.",
        (
            "Mend what the message says. Where the model only takes longer to load, raise `spec.startupTimeout`. The "
            "same revision again: as for GateFailed."
        ),
    )
    ROLLED_BACK = (
        "RolledBack",
        "Somebody gave the revision up with the annotation modelservice.dev/rollback.",
        "Give the ModelService another model, or remove the annotation and order another try, as for GateFailed.",
    )
    NEWER_SPEC = "NewerSpec", "The revision gave way to a newer spec before it had shown what it can.", "Nothing."

    # How the number of replicas comes about.
    SCALING = "Scaling", "Replicas follow the requests.", "Nothing."
    REPLICAS_IN_MANIFEST = (
        "ReplicasInManifest",
        "A manifest has spec.replicas beside spec.autoscaling; the message names who writes it. Nobody else does.",
        (
            "Take `replicas` out of the manifest. Where nobody keeps one any more: `kubectl edit modelservice NAME`, "
            "and remove the field. Either holds the number that runs."
        ),
    )
    TARGET_UNKNOWN = (
        "TargetUnknown",
        "Nobody knows how many requests a replica is to have, so replicas are held.",
        (
            "Give `spec.autoscaling.inflightPerReplica`, or `spec.evaluation`: the evaluation of a revision measures "
            "at how many requests a replica is saturated."
        ),
    )
    NO_METRICS = (
        "NoMetrics",
        "It is not known how many requests the pods have, so replicas are held; the message says why.",
        (
            "See whether the operator reaches the pods' port of metrics (NetworkPolicies of your own, a mesh), and for "
            "a Custom server `spec.runtime.metrics.inflight`. It goes on by itself."
        ),
    )
    ZERO_REFUSED = (
        "ZeroRefused",
        "The autoscaler decides, but keeps at least one replica although minReplicas is 0; the message says why.",
        (
            "Where a gateway counts the requests, have an administrator name its metric (`autoscaling.demandQuery` in "
            "the chart's values); else write minReplicas: 1."
        ),
    )
    NO_AUTOSCALER = (
        "NoAutoscaler",
        "The HorizontalPodAutoscaler or ScaledObject of the engine is not there, or nobody has looked at it yet.",
        (
            "The message says what is missing: KEDA, the address of a Prometheus, a metric, or `inflightPerReplica`. "
            "Replicas stay as they are meanwhile. An object of the engine before that does not go has a finalizer of "
            "KEDA's, whose operator must run."
        ),
    )
    AUTOSCALER_FAILS = (
        "AutoscalerFails",
        "The HorizontalPodAutoscaler or ScaledObject is there and does not scale; the message is its own.",
        (
            "Mostly its metric is missing: see [what each engine needs](autoscaling.md). Replicas stay as they are "
            "meanwhile. At 0 replicas an HPA leaves the service alone: `kubectl scale modelservice NAME --replicas=1`."
        ),
    )

    # Somebody must act.
    INVALID_SPEC = (
        "InvalidSpec",
        "The spec breaks a rule; the message names the field and what to write.",
        "Write that. Usually the API server refuses such a spec at once; this one came by before the rule did.",
    )
    UNKNOWN_ACCELERATOR_CLASS = (
        "UnknownAcceleratorClass",
        "spec.accelerator.class is not in the operator's configuration; the message lists the classes that are.",
        (
            "Choose one of those, name the device itself (`spec.accelerator.resource`), or have an administrator add "
            "the class to `accelerators` in the chart's values."
        ),
    )
    BAD_OVERLAY = (
        "BadOverlay",
        "spec.podTemplate does not fit a pod, or touches what belongs to the operator.",
        "The message names the path and what to do there.",
    )
    NOT_ALLOWED = (
        "NotAllowed",
        "The administrator allows no such image, service account, trust or receiver; the message names the limit.",
        (
            "Write what is allowed, or have an administrator add yours to `limits` in the chart's values. What served "
            "before goes on."
        ),
    )
    NAME_CONFLICT = (
        "NameConflict",
        "An object that the ModelService needs exists and belongs to somebody else.",
        (
            "Give the ModelService another name, remove the object, or hand it over with the command in the message; "
            "[taking over](taking-over.md) tells what happens then."
        ),
    )
    MANAGED_BY_OTHER = (
        "ManagedByOther",
        "Another installation of the operator keeps this ModelService, but does not look after it.",
        (
            "Let that installation watch this namespace, or end it: its Lease runs out, and this one takes over. "
            "An operator of some namespaces must be let read that Lease first: [how](install.md#for-some-namespaces)."
        ),
    )
    REJECTED = (
        "Rejected",
        "The API server or an admission policy refuses a child; the message is theirs.",
        "Change the field that the message names, mostly in `spec.podTemplate`, or the policy of the namespace.",
    )
