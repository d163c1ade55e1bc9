"""PrometheusRules of services that promise something, on a real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import promtool
from cluster.definitions import definition
from controlplane.conftest import remove_definition
from controlplane.test_service_monitors import World, world
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    Object = dict[str, Any]

__all__ = ["world"]

KIND = "prometheusrules.monitoring.coreos.com"
SLO = {
    "objectives": [
        {"name": "availability", "target": "99.9%"},
        {"name": "latency", "target": "99%", "threshold": "300ms"},
    ]
}


@pytest.fixture
def ruled(world: World) -> Iterator[World]:
    """The world with the API, which has gone again afterwards."""
    world.kubectl("apply", "--server-side", f"--filename={definition('prometheusrules', 'monitoring.coreos.com')}")
    until(lambda: f"apis: {KIND} can be used" in world.operator.log.read_text(), "the operator knows of the API")
    yield world
    remove_definition(world.kubectl, KIND)


def rules(world: World) -> dict[str, Object]:
    items = json.loads(world.kubectl("get", KIND, "-o", "json"))["items"]
    return {each["metadata"]["name"]: each for each in items}


def test_who_promises_something_is_watched_and_no_longer_when_it_promises_nothing(ruled: World) -> None:
    ruled.apply("silent")
    ruled.apply("m", slo=SLO)
    until(lambda: rules(ruled).keys() == {"m-slo"} and ruled.operator.is_idle(), "m has rules, and m alone")
    live = rules(ruled)["m-slo"]
    assert live["metadata"]["ownerReferences"][0]["name"] == "m"
    promtool.check(promtool.newest(), live["spec"]["groups"])  # as they are stored

    sent = ruled.operator.writes()
    ruled.kubectl("patch", KIND, "m-slo", "--type=json", "--patch", '[{"op": "remove", "path": "/spec/groups/0"}]')
    until(lambda: rules(ruled)["m-slo"]["spec"] == live["spec"], "the edit is taken back")
    assert ruled.operator.writes() - sent == 1

    ruled.configure()  # a restart
    until(ruled.operator.is_idle, "everything was looked at")
    assert ruled.operator.writes() == 0

    ruled.configure(labels={"release": "prometheus"}, dashboardUrl="https://example.com/{name}")
    until(lambda: rules(ruled)["m-slo"]["metadata"]["labels"].get("release") == "prometheus", "it is labelled")
    assert "https://example.com/m" in json.dumps(rules(ruled)["m-slo"])

    ruled.kubectl("patch", "modelservice", "m", "--type=json", "--patch", '[{"op": "remove", "path": "/spec/slo"}]')
    until(lambda: not rules(ruled), "nothing is watched any more")
