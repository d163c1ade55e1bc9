"""What a server calls what objectives and alerts are about: series by the part that they play.

Each is written as PromQL writes it, with matchers where not all of it counts; a histogram without `_bucket`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelservice_operator.api.types import RuntimeName

if TYPE_CHECKING:
    from modelservice_operator.api.types import ModelServiceSpec


@dataclass(frozen=True, slots=True)
class Metrics:
    """The series of one server; empty: it has none for that part."""

    requests: str = ""
    """Counter of requests."""
    errors: str = ""
    """Counter of those that failed their user."""
    latency: str = ""
    """Histogram of how long answers took."""
    first_token: str = ""
    """Histogram of how long the first token of an answer took."""
    inter_token: str = ""
    """Histogram of how long the next token took."""
    inflight: tuple[str, ...] = ()
    """Gauges that make up the requests without an answer."""
    waiting: str = ""
    """Gauge of those of them that wait."""
    born: str = "process_start_time_seconds"
    """When the server's counters began; Prometheus' own libraries tell."""
    alive: str = "up"
    """What is there as long as a server is scraped."""
    errors_are_there: bool = False
    """Whether errors have a series before the first one happens."""


# What the service refuses because it is full (429) fails its users as much as what it could not do (5xx).
TORCH: Final = Metrics(
    requests="model_server_requests_total",
    errors='model_server_requests_total{code=~"429|5.."}',
    latency="model_server_request_duration_seconds",
    inflight=("model_server_inflight_requests",),
    waiting="model_server_queue_requests",
    born="model_server_start_time_seconds",
    alive="model_server_requests_total",
    errors_are_there=True,
)
# vLLM 0.11 and later: vllm/v1/metrics/loggers.py. The counters are those of prometheus-fastapi-instrumentator, which it
# puts around its routes (vllm/entrypoints/serve/instrumentator/metrics.py) and which knows classes of codes only.
VLLM: Final = Metrics(
    requests='http_requests_total{method="POST",handler=~"/v1/.*"}',
    errors='http_requests_total{method="POST",handler=~"/v1/.*",status="5xx"}',
    latency="vllm:e2e_request_latency_seconds",
    first_token="vllm:time_to_first_token_seconds",  # noqa: S106 (no password)
    inter_token="vllm:inter_token_latency_seconds",  # noqa: S106 (as above)
    inflight=("vllm:num_requests_running", "vllm:num_requests_waiting"),
    waiting="vllm:num_requests_waiting",
)


def metrics_of(spec: ModelServiceSpec, runtime: RuntimeName | None = None) -> Metrics:
    """Return what the server of a spec calls them, or of an earlier one that had another `runtime`."""
    match runtime or spec.runtime.name:
        case RuntimeName.TORCH:
            return TORCH
        case RuntimeName.VLLM:
            return VLLM
        case RuntimeName.CUSTOM:
            given = spec.runtime.metrics.model_dump() if spec.runtime.metrics else {}
            return Metrics(**given | {"inflight": (given["inflight"],) if given.get("inflight") else ()})


def series(metric: str, selector: str, *more: str, suffix: str = "") -> str:
    """Return the query for those of a metric's series that `selector`, and more matchers, select."""
    name, _, own = metric.rstrip("}").partition("{")
    return f"{name}{suffix}{{{','.join(filter(None, (selector, own, *more)))}}}"
