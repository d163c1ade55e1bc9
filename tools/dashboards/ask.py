"""The questions that more than one dashboard asks, of the servers whose metrics are known: ours and vLLM.

What a server calls its metrics is said by the rules of objectives (`modelservice_operator.slo`), and taken from there.
"""

from typing import Final

from modelservice_operator.slo.metrics import TORCH, VLLM, Metrics, series

INTERVAL: Final = "$__rate_interval"
_SERVERS: Final = (TORCH, VLLM)


def rate(metric: str) -> str:
    """Return how much counters grow in a second."""
    return f"rate({metric}[{INTERVAL}])"


def requests(selector: str, *by: str) -> str:
    """Return requests a second."""
    return " or ".join(f"sum{_by(by)} ({rate(series(server.requests, selector))})" for server in _SERVERS)


def failed_share(selector: str, *by: str) -> str:
    """Return which share of the requests failed; nothing where none came."""
    return " or ".join(_failed_share(server, selector, by) for server in _SERVERS)


def _failed_share(server: Metrics, selector: str, by: tuple[str, ...]) -> str:
    failed, total = (f"sum{_by(by)} ({rate(series(each, selector))})" for each in (server.errors, server.requests))
    return f"{failed if server.errors_are_there else f'({failed} or 0 * {total})'} / ({total} > 0)"


def latency_buckets(selector: str, *by: str, counts: str = "rate") -> str:
    """Return how many answers took how long, by the buckets' bounds."""
    return " or ".join(
        f"sum{_by(('le', *by))} ({counts}({series(server.latency, selector, suffix='_bucket')}[{INTERVAL}]))"
        for server in _SERVERS
    )


def quantile(share: float, buckets: str) -> str:
    """Return how long that share of them took at most."""
    return f"histogram_quantile({share}, {buckets})"


def mean(histogram: str, selector: str) -> str:
    """Return the mean of what a histogram has seen; nothing where it saw nothing."""
    total, number = (f"sum({rate(f'{histogram}_{part}{{{selector}}}')})" for part in ("sum", "count"))
    return f"{total} / ({number} > 0)"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
