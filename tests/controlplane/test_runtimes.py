"""Objectives of servers other than ours, measured by Prometheus' own engine on what those servers expose."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest

import promtool
from modelservice_operator.api.duration import Duration
from modelservice_operator.api.types import VLLM_BOUNDS
from promtool import History
from stories import OWN, groups, promising
from vllm_metrics import (
    INTER_TOKEN_LATENCY_BUCKETS,
    REQUEST_LATENCY_BUCKETS,
    TIME_TO_FIRST_TOKEN_BUCKETS,
    Vllm,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Object = dict[str, Any]


def history(expose: Callable[[int], bytes], scrapes: int) -> History:
    """Scrape so many times what `expose` gives, and add the labels that the scrape gives to each series."""
    series: dict[str, list[str]] = {}
    for scrape in range(scrapes):
        for line in expose(scrape).decode().splitlines():
            if line.startswith("#"):
                continue
            name, _, value = line.rpartition(" ")
            metric, _, labels = name.rstrip("}").partition("{")
            values = series.setdefault(f"{metric}{{{','.join(filter(None, (OWN, labels)))}}}", ["_"] * scrape)
            values.append(value)
    return History({name: " ".join(values) for name, values in series.items()}, 15 * (scrapes - 1))


def ratios(spec: Object, seen: History) -> dict[str, float]:
    """Return the share of bad events over the last five minutes, by objective."""
    rules = groups(promising(**spec))
    promtool.check(promtool.newest(), rules)
    [found] = promtool.ask(promtool.newest(), rules, seen, [("slo:sli_error:ratio_rate5m", seen.seconds)])
    return {labels["slo"]: round(value, 6) for labels, value in found}


VLLM = {
    "runtime": {"name": "VLLM", "image": "vllm/vllm-openai:v0.11.0"},
    "slo": {
        "objectives": [
            {"name": "availability", "target": "99.9%"},
            {"name": "latency", "target": "99%", "threshold": "1s"},
            {"name": "firstToken", "target": "99%", "threshold": "250ms"},
            {"name": "interToken", "target": "99%", "threshold": "50ms"},
        ]
    },
}


def vllm(*, fails: bool) -> History:
    server = Vllm()

    def expose(scrape: int) -> bytes:
        if scrape == 0:
            server.answers("5xx")  # before anybody looked: a series that is born with an error loses it
            server.answers("2xx")
        for request in range(10 if scrape else 0):
            server.answers("5xx" if fails and request == 0 else "2xx")
            server.answers("4xx", "none", "GET")  # nobody asked the model
            server.latency.observe(3.0 if request < 2 else 0.9)
            server.first_token.observe(0.3 if request < 3 else 0.2)
            for token in range(10):
                server.inter_token.observe(0.06 if token < 4 else 0.02)
        return generate_latest(server.registry)

    return history(expose, 41)


def test_every_objective_of_vllm_is_measured_on_what_vllm_exposes() -> None:
    assert ratios(VLLM, vllm(fails=True)) == {
        "availability": 0.1,
        "latency": 0.2,
        "firstToken": 0.3,
        "interToken": 0.4,
    }


def test_a_vllm_that_never_failed_is_available_and_not_unknown() -> None:
    server = Vllm()

    def expose(_: int) -> bytes:
        server.answers("2xx")
        return generate_latest(server.registry)

    assert ratios(VLLM, history(expose, 41))["availability"] == 0


def test_the_thresholds_that_vllm_can_count_up_to_are_those_that_it_exposes() -> None:
    exposed = {
        "latency": REQUEST_LATENCY_BUCKETS,
        "firstToken": TIME_TO_FIRST_TOKEN_BUCKETS,
        "interToken": INTER_TOKEN_LATENCY_BUCKETS,
    }
    hour = Duration.parse("1h").seconds
    for objective, bounds in VLLM_BOUNDS.items():
        told = [Duration.parse(bound).seconds for bound in bounds]
        assert told == [bound for bound in exposed[objective] if bound <= hour]


@pytest.mark.parametrize("bound", ["2", "2.0"])
def test_a_custom_server_is_measured_on_the_metrics_that_it_names_however_it_writes_bounds(bound: str) -> None:
    metrics = {
        "requests": "rpc_total",
        "errors": 'rpc_total{outcome="failed"}',
        "latency": 'rpc_seconds{kind="unary"}',
    }
    spec = {
        "runtime": {"name": "Custom", "image": "x", "metricsPath": "/metrics", "metrics": metrics},
        "slo": {
            "objectives": [
                {"name": "availability", "target": "99%"},
                {"name": "latency", "target": "99%", "threshold": "2s"},
            ]
        },
    }
    lines: Iterator[tuple[str, int]] = itertools.chain(
        ((f'rpc_total{{outcome="{outcome}"}}', speed) for outcome, speed in (("ok", 9), ("failed", 1))),
        (
            (f'rpc_seconds_bucket{{kind="{kind}",le="{le}"}}', speed)
            for kind, speeds in (("unary", (3, 4)), ("stream", (0, 99)))
            for le, speed in zip((bound, "+Inf"), speeds, strict=True)
        ),
    )
    speeds = dict(lines)

    def expose(scrape: int) -> bytes:
        return "".join(f"{name} {scrape * speed}\n" for name, speed in speeds.items()).encode()

    assert ratios(spec, history(expose, 41)) == {"availability": 0.1, "latency": 0.25}
