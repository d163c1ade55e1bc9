"""What vLLM exposes of requests, rebuilt from its definitions."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# vllm/v1/metrics/buckets.py of vLLM, commit 139b1c3f17720f4bb6865309f365e6b1f1607a45.
REQUEST_LATENCY_BUCKETS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0),
    *(1920.0, 7680.0),
)
TIME_TO_FIRST_TOKEN_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
INTER_TOKEN_LATENCY_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)


class Vllm:
    """The metrics of one server, exposed by the library that vLLM uses.

    vllm/v1/metrics/loggers.py, commit 005a810bc40faa25b8870fbc8559c3462581eee3 (inter-token latency: from 0.11 on), and
    prometheus-fastapi-instrumentator's counter as vllm/entrypoints/serve/instrumentator/metrics.py, commit
    02a69ad2710b79425c217f79dd4ad8e4ea671ee1, has it: codes in classes, pages about the server left out.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names, values = ["model_name", "engine"], ("m", "0")

        def histogram(name: str, documentation: str, buckets: tuple[float, ...]) -> Histogram:
            made = Histogram(name, documentation, names, registry=self.registry, buckets=buckets)
            labelled: Histogram = made.labels(*values)
            return labelled

        for name, documentation in (
            ("vllm:num_requests_running", "Number of requests in model execution batches."),
            ("vllm:num_requests_waiting", "Number of requests waiting to be processed."),
        ):
            Gauge(name, documentation, names, registry=self.registry).labels(*values).set(0)
        self.latency = histogram(
            "vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", REQUEST_LATENCY_BUCKETS
        )
        self.first_token = histogram(
            "vllm:time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            TIME_TO_FIRST_TOKEN_BUCKETS,
        )
        self.inter_token = histogram(
            "vllm:inter_token_latency_seconds",
            "Histogram of inter-token latency in seconds.",
            INTER_TOKEN_LATENCY_BUCKETS,
        )
        self.requests = Counter(
            "http_requests_total",
            "Total number of requests by method, status and handler.",
            ["method", "status", "handler"],
            registry=self.registry,
        )

    def answers(self, status: str, handler: str = "/v1/chat/completions", method: str = "POST") -> None:
        """Count an answer."""
        self.requests.labels(method, status, handler).inc()
