"""The operator itself: whether one works, keeps up, and is answered by the API server."""

from dashboards.ask import INTERVAL, quantile, rate
from dashboards.grafana import Dashboard, Query, Row, Variable, lines, stat, states

OWN = 'job=~"$job"'
_PREFIX = "modelservice_operator"
_UNSCRAPED = "The operator's metrics are not scraped."
_RECONCILES = f"sum by (le) ({rate(f'{_PREFIX}_reconcile_seconds_bucket{{{OWN}}}')})"
_FAILED = f'{_PREFIX}_api_requests_total{{{OWN}, code=~"5..|429|Error"}}'
_OF_OPERATORS = f"and on (instance) {_PREFIX}_leading{{{OWN}}}"
_LEADS = f"{_OF_OPERATORS} == 1"


def _own(name: str) -> str:
    return f"{_PREFIX}_{name}{{{OWN}}}"


_NOW = Row(
    "",
    (
        stat(
            "Leaders",
            "Exactly one operator works; the others stand by.",
            "short",
            Query(f"sum({_own('leading')})"),
            steps=(("red", 0), ("green", 1), ("red", 2)),
            nothing=_UNSCRAPED,
        ),
        stat(
            "Operators", "Operators that are scraped.", "short", Query(f"count({_own('leading')})"), nothing=_UNSCRAPED
        ),
        stat(
            "Failed reconciles",
            "The share of looks at models that failed and are repeated. Some conflicts are daily life.",
            "percentunit",
            Query(
                f"(sum({rate(_own('reconcile_errors_total'))}) or vector(0)) "
                f"/ sum({rate(_own('reconcile_seconds_count'))})"
            ),
            steps=(("green", 0), ("orange", 0.05), ("red", 0.1)),
            nothing=_UNSCRAPED,
        ),
        stat(
            "Failed requests",
            "The share of requests that the API server did not answer, failed at, or throttled.",
            "percentunit",
            Query(f"(sum({rate(_FAILED)}) or vector(0)) / sum({rate(_own('api_requests_total'))})"),
            steps=(("green", 0), ("orange", 0.01), ("red", 0.05)),
            nothing=_UNSCRAPED,
        ),
        stat(
            "Longest wait",
            "For how long the model has waited to be looked at that waits longest.",
            "s",
            Query(f"max({_own('queue_longest_wait_seconds')} {_LEADS})"),
            steps=(("green", 0), ("orange", 60), ("red", 300)),
            nothing="Nobody leads.",
        ),
        stat(
            "Events not written",
            "Kubernetes Events that were dropped within the last minutes. Nothing depends on them.",
            "short",
            Query(f"sum(increase({_own('events_dropped_total')}[{INTERVAL}])) or vector(0)"),
        ),
    ),
)

_WORK = Row(
    "Work",
    (
        lines(
            "Reconciles",
            "Looks at models a second, and those that failed, by the kind of error.",
            "ops",
            Query(f"sum({rate(_own('reconcile_seconds_count'))})", "all"),
            Query(f"sum by (error) ({rate(_own('reconcile_errors_total'))})", "{{error}}"),
            nothing=_UNSCRAPED,
        ),
        lines(
            "Time of a reconcile",
            "How long one look at a model takes, for half of them and for 99 %, at most.",
            "s",
            *(Query(quantile(share, _RECONCILES), f"p{share * 100:g}") for share in (0.5, 0.99)),
            nothing="No reconciles.",
        ),
        lines(
            "Queue",
            "Models that wait to be looked at. On an operator that stands by, everything waits.",
            "short",
            Query(f"sum by (pod) ({_own('queue_depth')})", "waiting {{pod}}"),
            nothing=_UNSCRAPED,
        ),
        lines(
            "Longest wait and longest reconcile",
            "For how long the model has waited that waits longest, and for how long the longest look goes on. Minutes "
            "mean that the operator does not keep up, or that a request hangs.",
            "s",
            Query(f"max({_own('queue_longest_wait_seconds')} {_LEADS})", "wait"),
            Query(f"max({_own('longest_reconcile_seconds')})", "reconcile"),
            nothing=_UNSCRAPED,
        ),
        lines(
            "Looks at error budgets",
            "Questions to the Prometheus of the configuration (prometheus.url), by what came of them.",
            "ops",
            Query(f"sum by (outcome) ({rate(_own('budget_looks_total'))})", "{{outcome}}"),
            nothing="No Prometheus is named (prometheus.url).",
        ),
        states(
            "Optional APIs",
            "Of which optional kinds objects can be made, or read. No: the API is absent or forbidden.",
            Query(f"min by (resource) ({_own('optional_api_usable')})", "{{resource}}"),
            nothing=_UNSCRAPED,
        ),
    ),
)

_AROUND = Row(
    "API server and process",
    (
        lines(
            "Requests to the API server",
            "Requests a second, by verb and kind. A quiet cluster has watches and a lease, and no writes.",
            "reqps",
            Query(f"sum by (verb, resource) ({rate(_own('api_requests_total'))}) > 0", "{{verb}} {{resource}}"),
            nothing=_UNSCRAPED,
        ),
        lines(
            "Requests by code",
            "Requests a second by what was answered; Error: nothing. 403 is a missing right, 409 a conflict, which is "
            "tried again.",
            "reqps",
            Query(f"sum by (code) ({rate(_own('api_requests_total'))}) > 0", "{{code}}"),
            nothing=_UNSCRAPED,
        ),
        lines(
            "Memory",
            "What each operator holds. It grows with models and their pods.",
            "bytes",
            Query(f"max by (instance, pod) (process_resident_memory_bytes{{{OWN}}} {_OF_OPERATORS})", "{{pod}}"),
            nothing=_UNSCRAPED,
        ),
        lines(
            "CPU",
            "How many CPUs each operator uses.",
            "short",
            Query(f"max by (instance, pod) ({rate(f'process_cpu_seconds_total{{{OWN}}}')} {_OF_OPERATORS})", "{{pod}}"),
            nothing=_UNSCRAPED,
        ),
        lines(
            "Lag of the event loop",
            "By how much the loop on which everything happens was late. Seconds mean that the operator lacks CPU.",
            "s",
            Query(f"max by (pod) ({_own('event_loop_lag_seconds')})", "{{pod}}"),
            nothing=_UNSCRAPED,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="modelservice-operator",
    title="ModelService / Operator",
    description="The operator itself: whether one works, keeps up, and is answered by the API server.",
    variables=(Variable("job", "Operator", "modelservice_operator_leading", "job", many=True),),
    rows=(_NOW, _WORK, _AROUND),
)
