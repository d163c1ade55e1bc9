"""One model: what it promises, what it answers, and what it runs on. Alerts lead here (`monitoring.dashboardUrl`)."""

from dashboards.ask import failed_share, latency_buckets, mean, quantile, rate, requests
from dashboards.grafana import Dashboard, Query, Row, Variable, bars, heat_map, lines, stat, states
from modelservice_operator.slo.metrics import TORCH, VLLM, series

OWN = 'namespace="$namespace", modelservice="$name"'
SEEN = 'namespace="$namespace", name="$name"'
# The exporter names the pods that use a GPU. Unless its labels are honoured, Prometheus renames them. A pod's name is
# its model's, the revision's hash, the ReplicaSet's, and its own end.
_POD = "$name-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+"

UNKNOWN = "The operator's metrics are not scraped."
UNTOLD = "Its server does not tell."
UNPROMISED = "Nothing is promised (spec.slo)."


def _gpu(metric: str) -> str:
    """Return a metric of the exporter, by pod and GPU."""
    renamed = f'{metric}{{exported_namespace="$namespace", exported_pod=~"{_POD}"}}'
    named = f'{metric}{{namespace="$namespace", pod=~"{_POD}"}}'
    return f'max by (pod, gpu) (label_replace({renamed}, "pod", "$1", "exported_pod", "(.+)") or {named})'


_LATENCY = latency_buckets(OWN)
_COMPUTE = "model_server_compute_duration_seconds"
_TOKENS = tuple(
    (title, f"sum by (le) ({rate(series(histogram, OWN, suffix='_bucket'))})")
    for title, histogram in (("First token", VLLM.first_token), ("Each next token", VLLM.inter_token))
)

_NOW = Row(
    "",
    (
        stat(
            "State",
            "Why the model is ready, or why it is not: the reason of condition Ready.",
            "none",
            Query(f"max by (reason) (modelservice_ready_reason{{{SEEN}}})", "{{reason}}"),
            shows_name=True,
            nothing=UNKNOWN,
        ),
        stat(
            "Pods",
            "Pods that carry traffic and are ready, and pods that are promised.",
            "short",
            Query(f"max(modelservice_replicas_ready{{{SEEN}}})", "ready"),
            Query(f"max(modelservice_replicas_wanted{{{SEEN}}})", "promised"),
            nothing=UNKNOWN,
        ),
        stat("Requests", "Requests a second, answered in whatever way.", "reqps", Query(requests(OWN)), nothing=UNTOLD),
        stat(
            "Failed",
            "The share of requests that failed their users: the server's own faults (5xx), and what it refused "
            "because it was full (429).",
            "percentunit",
            Query(failed_share(OWN)),
            steps=(("green", 0), ("orange", 0.001), ("red", 0.01)),
            nothing="No requests.",
        ),
        stat(
            "Budget left",
            "What is left of the error budget, of the objective that has least. Below 0 the promise is broken.",
            "percentunit",
            Query(f"min(slo:period_error_budget_remaining:ratio{{{OWN}}})"),
            steps=(("red", 0), ("orange", 0.1), ("green", 0.5)),
            nothing=UNPROMISED,
        ),
        stat(
            "Alerts",
            "Alerts about the model that fire now. Each has a runbook.",
            "short",
            Query(f'count(ALERTS{{{OWN}, alertstate="firing"}}) or vector(0)'),
            steps=(("green", 0), ("red", 1)),
        ),
    ),
)

_PROMISES = Row(
    "What it promises",
    (
        lines(
            "Error budget",
            "What is left of each objective's error budget, in requests of the whole window. Below 0 the promise is "
            "broken.",
            "percentunit",
            Query(f"max by (slo) (slo:period_error_budget_remaining:ratio{{{OWN}}})", "{{slo}}"),
            most=1,
            least=None,
            nothing=UNPROMISED,
        ),
        lines(
            "Burn rate",
            "How many times as fast as allowed the budget goes, over five minutes and over an hour. At 1 it lasts "
            "exactly as long as the window; somebody is paged from about 14 on, over both.",
            "short",
            Query(f"max by (slo) (slo:current_burn_rate:ratio{{{OWN}}})", "{{slo}}, 5m"),
            Query(
                f"max by (slo) (slo:sli_error:ratio_rate1h{{{OWN}}} "
                f"/ ignoring (sloth_window) slo:error_budget:ratio{{{OWN}}})",
                "{{slo}}, 1h",
            ),
            nothing=UNPROMISED,
        ),
        lines(
            "Bad requests",
            "The share of requests that were bad by each objective, over five minutes, and the share that may be.",
            "percentunit",
            Query(f"max by (slo) (slo:sli_error:ratio_rate5m{{{OWN}}})", "{{slo}}"),
            Query(f"max by (slo) (slo:error_budget:ratio{{{OWN}}})", "{{slo}}, allowed"),
            nothing=UNPROMISED,
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        lines(
            "Requests by code",
            "Requests a second by the HTTP status of their answers; of vLLM by class of status.",
            "reqps",
            Query(f"sum by (code) ({rate(series(TORCH.requests, OWN))}) > 0", "{{code}}"),
            Query(f"sum by (status) ({rate(series(VLLM.requests, OWN))}) > 0", "{{status}}"),
            stacked=True,
            nothing="No requests.",
        ),
        lines(
            "Failed",
            "The share of requests that failed their users (5xx, 429), by revision: a new one that fails more than "
            "the old is seen here.",
            "percentunit",
            Query(failed_share(OWN, "revision"), "{{revision}}"),
            nothing="No requests.",
        ),
        lines(
            "Turned away",
            "Requests a second that the model never saw, by why: the queue was full, their time was over, the client "
            "went, the model was loading, or no valid token was shown.",
            "reqps",
            Query(f"sum by (reason) ({rate(f'model_server_rejected_total{{{OWN}}}')})", "{{reason}}"),
            nothing=UNTOLD,
        ),
    ),
)

_LATENCIES = Row(
    "Latency",
    (
        heat_map(
            "Time to answer",
            "How many answers took how long, by the bounds of the server's histogram. The threshold of an objective "
            "is one of them.",
            "s",
            latency_buckets(OWN, counts="increase"),
            nothing=UNTOLD,
        ),
        lines(
            "Quantiles",
            "How long the faster half, 90 % and 99 % of the answers took at most; between two bounds it is a guess.",
            "s",
            *(Query(quantile(share, _LATENCY), f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)),
            nothing="No requests.",
        ),
        lines(
            "Where the time goes",
            "The mean time of a request, of its wait for the model, and of one pass of the model. Waiting grows where "
            "replicas lack; passes grow with their batches.",
            "s",
            Query(mean("model_server_request_duration_seconds", OWN), "in all"),
            Query(mean("model_server_queue_duration_seconds", OWN), "waiting"),
            Query(mean(_COMPUTE, OWN), "one pass"),
            nothing=UNTOLD,
        ),
    ),
)

_SERVER = Row(
    "Server",
    (
        lines(
            "Batch size",
            "Rows in one pass of the model: the mean, and what nine of ten passes have at most. It grows by itself "
            "while the model is busy.",
            "short",
            Query(mean("model_server_batch_size", OWN), "mean"),
            Query(quantile(0.9, f"sum by (le) ({rate(f'model_server_batch_size_bucket{{{OWN}}}')})"), "p90"),
            nothing=UNTOLD,
        ),
        lines(
            "Queue",
            "Requests that have no answer yet, and those of them that wait for the model.",
            "short",
            Query(
                f"sum(model_server_inflight_requests{{{OWN}}}) "
                f"or sum(vllm:num_requests_running{{{OWN}}} + vllm:num_requests_waiting{{{OWN}}})",
                "in flight",
            ),
            Query(
                f"sum(model_server_queue_requests{{{OWN}}}) or sum(vllm:num_requests_waiting{{{OWN}}})",
                "waiting",
            ),
            nothing=UNTOLD,
        ),
        lines(
            "Longest wait",
            "For how long the request has waited that waits longest, by pod.",
            "s",
            Query(f"max by (pod) (model_server_queue_oldest_seconds{{{OWN}}})", "{{pod}}"),
            nothing=UNTOLD,
        ),
        lines(
            "Saturation",
            "The share of the time that the model computes, by pod. Near 100 % more requests only wait longer, and "
            "only more replicas answer more.",
            "percentunit",
            Query(
                f"sum by (pod) ({rate(f'{_COMPUTE}_sum{{{OWN}}}')}) / sum by (pod) (model_server_workers{{{OWN}}})",
                "{{pod}}",
            ),
            most=1,
            nothing=UNTOLD,
        ),
        lines(
            "Drift of inputs",
            "How far the inputs of the last hour are from what the model learned (population stability index): below "
            "0.1 little, from 0.25 on much. By input, or by column where those have names.",
            "short",
            Query(f"avg by (input, column) (model_server_input_drift_psi{{{OWN}}})", "{{input}} {{column}}"),
            nothing="The model brings no reference.npz, or too little is asked.",
        ),
        lines(
            "Processes",
            "Processes that have proven the model, and those that died and were replaced.",
            "short",
            Query(f"sum(model_server_workers_ready{{{OWN}}})", "ready"),
            Query(f"sum(increase(model_server_worker_restarts_total{{{OWN}}}[$__rate_interval]))", "replaced"),
            nothing=UNTOLD,
        ),
        bars(
            "Loading",
            "How long the slowest pod took from nothing to a proven model, by phase: fetching, loading, and the first "
            "passes. A server must be ready within spec.startupTimeout, not counting the fetch.",
            "s",
            Query(f"max by (phase) (model_server_model_load_seconds{{{OWN}}})", "{{phase}}"),
            nothing=UNTOLD,
        ),
    ),
)

_PODS = Row(
    "Pods and rollouts",
    (
        lines(
            "Ready pods by revision",
            "Pods that are ready, by revision; where the server does not tell, pods that answer Prometheus.",
            "short",
            Query(
                f"sum by (revision) (model_server_model_ready{{{OWN}}}) or sum by (revision) (up{{{OWN}}})",
                "{{revision}}",
            ),
            stacked=True,
            stepped=True,
            width=6,
            nothing="Nothing is scraped.",
        ),
        lines(
            "Pods promised and ready",
            "What the operator sees: pods that are promised, and pods that carry traffic and are ready.",
            "short",
            Query(f"max(modelservice_replicas_wanted{{{SEEN}}})", "promised"),
            Query(f"max(modelservice_replicas_ready{{{SEEN}}})", "ready"),
            stepped=True,
            width=6,
            nothing=UNKNOWN,
        ),
        states(
            "Conditions",
            "Which conditions of its status hold. Stalled and Reconciling should not, for long.",
            Query(f"max by (condition) (modelservice_condition{{{SEEN}}})", "{{condition}}"),
            width=6,
            nothing=UNKNOWN,
        ),
        states(
            "Phase of the rollout",
            "What the rollout is at. Settled: the latest spec is in force.",
            Query(f"max by (phase) (modelservice_rollout_phase{{{SEEN}}})", "{{phase}}"),
            width=6,
            nothing=UNKNOWN,
        ),
    ),
)

_VLLM = Row(
    "vLLM",
    tuple(
        lines(
            title,
            "How long it took for the faster half and for 99 % of the answers, at most.",
            "s",
            *(Query(quantile(share, buckets), f"p{share * 100:g}") for share in (0.5, 0.99)),
            width=12,
            nothing="No vLLM.",
        )
        for title, buckets in _TOKENS
    ),
    folded=True,
)

_NO_EXPORTER = "No exporter with DCGM's names tells of its pods."
_GPUS = Row(
    "GPU",
    (
        lines(
            "GPU utilisation",
            "The share of the time in which anything ran on the GPU. It says little about how much of the GPU is used.",
            "percent",
            Query(_gpu("DCGM_FI_DEV_GPU_UTIL"), "{{pod}} {{gpu}}"),
            width=6,
            most=100,
            nothing=_NO_EXPORTER,
        ),
        lines(
            "GPU memory in use",
            "The part of the GPU's memory that is in use.",
            "percentunit",
            Query(
                f"{_gpu('DCGM_FI_DEV_FB_USED')} / ({_gpu('DCGM_FI_DEV_FB_USED')} + {_gpu('DCGM_FI_DEV_FB_FREE')})",
                "{{pod}} {{gpu}}",
            ),
            width=6,
            most=1,
            nothing=_NO_EXPORTER,
        ),
        lines(
            "GPU power",
            "What the GPU draws: the most honest sign of work.",
            "watt",
            Query(_gpu("DCGM_FI_DEV_POWER_USAGE"), "{{pod}} {{gpu}}"),
            width=6,
            nothing=_NO_EXPORTER,
        ),
        lines(
            "GPU temperature",
            "How hot the GPU is. It slows down to stay below its limit.",
            "celsius",
            Query(_gpu("DCGM_FI_DEV_GPU_TEMP"), "{{pod}} {{gpu}}"),
            width=6,
            nothing=_NO_EXPORTER,
        ),
    ),
    folded=True,
)

DASHBOARD = Dashboard(
    uid="modelservice",
    title="ModelService / Model",
    description="One model: what it promises, what it answers, and what it runs on.",
    variables=(
        Variable("namespace", "Namespace", "modelservice_replicas_wanted", "namespace"),
        Variable("name", "Model", 'modelservice_replicas_wanted{namespace="$namespace"}', "name"),
    ),
    rows=(_NOW, _PROMISES, _TRAFFIC, _LATENCIES, _SERVER, _PODS, _VLLM, _GPUS),
)
