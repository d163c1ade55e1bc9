"""The engine's own metrics. Requests to the API server are counted where they are made, in `kube.session`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from modelservice_operator.engine.queue import K, WorkQueue

RECONCILE_SECONDS: Final = Histogram(
    "modelservice_operator_reconcile_seconds",
    "Time to bring one service to what its spec says.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
RECONCILE_ERRORS: Final = Counter(
    "modelservice_operator_reconcile_errors",
    "Reconciles that failed and will be repeated, by the kind of error.",
    ["error"],
)
QUEUE_DEPTH: Final = Gauge(
    "modelservice_operator_queue_depth",
    "Services that wait to be reconciled.",
)
QUEUE_LONGEST_WAIT_SECONDS: Final = Gauge(
    "modelservice_operator_queue_longest_wait_seconds",
    "For how long the service that waits longest has waited.",
)
LONGEST_WORK_SECONDS: Final = Gauge(
    "modelservice_operator_longest_reconcile_seconds",
    "For how long the longest reconcile that is running has run.",
)
LEADING: Final = Gauge(
    "modelservice_operator_leading",
    "Whether this process holds the lease and works (1), or stands by (0).",
)
OPTIONAL_API_USABLE: Final = Gauge(
    "modelservice_operator_optional_api_usable",
    "Whether objects of an optional kind can be made (1), or its API is absent or forbidden (0).",
    ["resource"],
)
EVENTS_DROPPED: Final = Counter(
    "modelservice_operator_events_dropped",
    "Kubernetes Events that were not written, by why; nothing depends on them.",
    ["why"],
)
LOOP_LAG_SECONDS: Final = Gauge(
    "modelservice_operator_event_loop_lag_seconds",
    "By how much the event loop was late at the last heartbeat.",
)


def show_queue(queue: WorkQueue[K]) -> None:
    """Have the gauges ask this queue whenever they are scraped."""
    QUEUE_DEPTH.set_function(lambda: queue.depth)
    QUEUE_LONGEST_WAIT_SECONDS.set_function(lambda: queue.longest_wait_seconds)
    LONGEST_WORK_SECONDS.set_function(lambda: queue.longest_work_seconds)
