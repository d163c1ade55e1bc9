"""The alerts of a service: when each fires, how urgent it is, what it says and where it leads.

Every one names the service in labels of its own, `namespace` and `modelservice`, whatever its query makes of labels:
routes go by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from modelservice_operator.api.duration import Duration
from modelservice_operator.slo.burn import CRITICAL, WARNING, Tier, number, tiers
from modelservice_operator.slo.indicators import availability
from modelservice_operator.slo.metrics import TORCH, metrics_of, series
from modelservice_operator.slo.recordings import ERRORS, RATIO, Promise, selector

if TYPE_CHECKING:
    from modelservice_operator.api.types import Drift, ModelServiceSpec

Rule = dict[str, Any]

# With fewer failures in its window no alert about failing requests speaks: in little traffic one means nothing.
FLOOR: Final = 5

_TWO_LOOKS: Final = Duration.parse("2m")  # of a Prometheus that scrapes once a minute
_LEEWAY: Final = Duration.parse("5m")
_PATIENCE: Final = Duration.parse("30m")

BURN: Final = "ModelServiceErrorBudgetBurn"
FAILING: Final = "ModelServiceFailing"
METRICS_ABSENT: Final = "ModelServiceMetricsAbsent"
CRASH_LOOPING: Final = "ModelServiceCrashLooping"
REPLICAS_MISSING: Final = "ModelServiceReplicasMissing"
SLOW_LOAD: Final = "ModelServiceSlowLoad"
QUEUE_SATURATED: Final = "ModelServiceQueueSaturated"
ROLLOUT_STUCK: Final = "ModelServiceRolloutStuck"
WAITING_FOR_CAPACITY: Final = "ModelServiceWaitingForCapacity"
INPUT_DRIFT: Final = "ModelServiceInputDrift"
ALERTS: Final = (
    *(BURN, FAILING, METRICS_ABSENT, CRASH_LOOPING, REPLICAS_MISSING),
    *(SLOW_LOAD, QUEUE_SATURATED, ROLLOUT_STUCK, WAITING_FOR_CAPACITY, INPUT_DRIFT),
)


@dataclass(frozen=True, slots=True)
class Links:
    """Where alerts lead: addresses with holes."""

    runbook: str
    """With {alert}."""
    dashboard: str = ""
    """With {namespace} and {name}; empty: there is none."""

    def of(self, alert: str, namespace: str, name: str) -> dict[str, str]:
        """Return the annotations that lead there."""
        dashboard = self.dashboard.replace("{namespace}", namespace).replace("{name}", name)
        return {
            "runbook_url": self.runbook.replace("{alert}", alert),
            **({"dashboard_url": dashboard} if dashboard else {}),
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """The service that alerts are about."""

    namespace: str
    name: str
    spec: ModelServiceSpec
    links: Links

    @property
    def own(self) -> str:
        """What selects the series of its pods."""
        return selector(self.namespace, self.name)

    @property
    def seen(self) -> str:
        """What selects the operator's series about it."""
        return f'namespace="{self.namespace}",name="{self.name}"'

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def alert(
        self,
        alert: str,
        severity: str,
        query: str,
        summary: str,
        description: str,
        *,
        lasting: str = "",
        labels: dict[str, str] | None = None,
    ) -> Rule:
        """Return one alert about it."""
        return {
            "alert": alert,
            "expr": query,
            **({"for": lasting} if lasting else {}),
            "labels": {"severity": severity, "namespace": self.namespace, "modelservice": self.name} | (labels or {}),
            "annotations": {"summary": summary, "description": description}
            | self.links.of(alert, self.namespace, self.name),
        }


def burn_alerts(subject: Subject, promise: Promise, long_windows: frozenset[str]) -> list[Rule]:
    """Return the alerts of a promise that have one of these long windows. None waits: the windows do."""
    return [
        _burn_alert(subject, promise, tier)
        for tier in tiers(promise.window, promise.objective.target)
        if tier.long in long_windows and tier.can_fire
    ]


def _burn_alert(subject: Subject, promise: Promise, tier: Tier) -> Rule:
    threshold, objective = number(tier.threshold), promise.objective
    query = (
        f"{promise.series(RATIO + tier.long)} > {threshold} "
        f"and on (sloth_id) {promise.series(RATIO + tier.short)} > {threshold} "
        f"and on (sloth_id) {promise.series(ERRORS + tier.long)} >= {FLOOR}"
    )
    gone = number(100 * tier.part)
    bad = "slower than " + str(objective.threshold) if objective.threshold else "failed"
    return subject.alert(
        BURN,
        tier.severity,
        query,
        f"Model {subject} uses up its error budget of {objective.name} {number(tier.factor)} times too fast or more.",
        f"Over the last {tier.long} {{{{ $value | humanizePercentage }}}} of its requests were {bad}, where "
        f"{objective.target} are promised to be good over {promise.window}; so {gone}% of the budget or more went in "
        f"{tier.long}, and it goes on (over {tier.short}, too).",
        labels={"slo": objective.name.value, "long": tier.long, "short": tier.short}
        | {"sloth_severity": "page" if tier.severity == CRITICAL else "ticket"},
    )


def failing(subject: Subject) -> Rule:
    """Return the alert that no target can silence."""
    metrics, seen = metrics_of(subject.spec), subject.seen
    startup = max(subject.spec.startup_timeout, _TWO_LOOKS)
    # What was scaled up from zero may load, and what has never served lets nobody down, though it be paused or refused.
    nobody_is_ready = (
        f"min(min_over_time(modelservice_replicas_wanted{{{seen}}}[{startup}])) > 0 "
        f"and max(max_over_time(modelservice_replicas_ready{{{seen}}}[90s])) == 0 "
        f"and max(modelservice_promoted{{{seen}}}) == 1"
    )
    query = nobody_is_ready
    if metrics.requests:
        it = availability(subject.own, metrics)
        query = f"({it.ratio_over('2m')} >= 0.5 and {it.bad_over('2m')} >= {FLOOR}) or ({nobody_is_ready})"
    return subject.alert(
        FAILING,
        CRITICAL,
        query,
        f"Model {subject} fails its users.",
        "At least half of its requests failed over the last 2 minutes, or none of its pods is ready. Its status says "
        f"what it lacks: kubectl -n {subject.namespace} describe modelservice {subject.name}.",
    )


def health_alerts(subject: Subject) -> list[Rule]:
    """Return the alerts that tell early, or tell why, from the operator's gauges and the server's own metrics.

    Only the Torch server tells how it loads and queues.
    """
    metrics = metrics_of(subject.spec)
    is_torch = metrics is TORCH
    own, seen, timeout = subject.own, subject.seen, subject.spec.startup_timeout
    describe = f"kubectl -n {subject.namespace} describe modelservice {subject.name}"
    has_no_room = f'max(modelservice_condition{{{seen},condition="Scheduled"}}) == 0'
    patience = str(max(timeout, _PATIENCE))
    alerts = [
        subject.alert(
            METRICS_ABSENT,
            WARNING,
            f"absent({series(metrics.alive, own)}) unless on () max(modelservice_replicas_ready{{{seen}}}) == 0",
            f"Prometheus has no metrics of model {subject}.",
            "Pods of it may serve well, but nobody would be told if they did not. See whether Prometheus selects the "
            f"targets of the Service {subject.name}-metrics, and whether they are up.",
            lasting="10m",
        ),
        subject.alert(
            CRASH_LOOPING,
            WARNING,
            f'max(modelservice_ready_reason{{{seen},reason="CrashLoop"}})' + (_restarts(own) if is_torch else ""),
            f"Servers of model {subject} keep exiting.",
            f"They are started anew each time. Their exit codes and last words: {describe}, and kubectl -n "
            f"{subject.namespace} logs -l modelservice.dev/name={subject.name} -c server --previous.",
        ),
        subject.alert(
            REPLICAS_MISSING,
            WARNING,
            f"max(modelservice_replicas_ready{{{seen}}}) < max(modelservice_replicas_wanted{{{seen}}}) "
            f'and max(modelservice_rollout_phase{{{seen},phase=~"Settled|Failed"}}) unless {has_no_room}',
            f"Model {subject} has {{{{ $value }}}} ready pods, which is fewer than it promises.",
            f"It has been so for longer than a pod may take to start. Which pods lack, and why: {describe}.",
            lasting=str(Duration(timeout.milliseconds + _LEEWAY.milliseconds)),
        ),
        subject.alert(
            SLOW_LOAD,
            WARNING,
            f'max(sum without (phase) (model_server_model_load_seconds{{{own},phase!="fetch"}})) '
            f"> {number(Fraction(4 * timeout.milliseconds, 5000))}",
            f"Model {subject} takes {{{{ $value | humanizeDuration }}}} to load.",
            f"A server that takes longer than spec.startupTimeout ({timeout}) is killed and starts again, for ever. "
            "Lengthen it, or see why loading takes so long.",
        ),
        subject.alert(
            QUEUE_SATURATED,
            WARNING,
            f'sum(rate(model_server_rejected_total{{{own},reason="queue_full"}}[5m])) > 0',
            f"Model {subject} turns requests away because its queue is full.",
            "It has refused {{ $value | humanize }} requests a second with 429 for 5 minutes. More replicas, larger "
            "batches or a longer spec.serving.maxQueue let more in.",
            lasting="5m",
        ),
        subject.alert(
            ROLLOUT_STUCK,
            WARNING,
            f'max(modelservice_rollout_phase{{{seen},phase=~"Starting|Evaluating|Rolling|Returning|Waiting"}}) '
            f"and max(changes(modelservice_replicas_ready{{{seen}}}[5m])) == 0 unless {has_no_room}",
            f"The rollout of model {subject} does not get on.",
            f"No pod of a new revision has become ready for {patience}. What serves goes on serving. What it "
            f"waits for: {describe}.",
            lasting=patience,
        ),
        subject.alert(
            WAITING_FOR_CAPACITY,
            WARNING,
            has_no_room,
            f"Model {subject} waits for room in the cluster.",
            f"A pod of it has had no node for 10 minutes; condition Scheduled has the scheduler's words: {describe}.",
            lasting="10m",
        ),
    ]
    return [alert for alert in alerts if is_torch or alert["alert"] not in {SLOW_LOAD, QUEUE_SATURATED}]


def input_drift(subject: Subject, drift: Drift) -> Rule:
    """Return the alert that the model is asked about other things than it learned; one for each input or column."""
    return subject.alert(
        INPUT_DRIFT,
        WARNING,
        f"avg by (input, column) (model_server_input_drift_psi{{{subject.own}}}) > {drift.psi}",
        f"Model {subject} is asked about inputs that are not what it learned from.",
        "The population stability index of input {{ $labels.input }}"
        "{{ if $labels.column }}, column {{ $labels.column }},{{ end }} over the last hour is "
        f'{{{{ $value | printf "%.2f" }}}}, where {drift.psi} is the bound (spec.monitoring.drift.psi).',
        lasting=drift.for_,
    )


def _restarts(own: str) -> str:
    """Return what tells of servers that exit and come back too soon for their pods to be found at it."""
    return (
        f' or sum(resets(model_server_requests_total{{{own},code="200"}}[30m])) '
        f"+ sum(increase(model_server_worker_restarts_total{{{own}}}[30m])) >= 3"
    )
