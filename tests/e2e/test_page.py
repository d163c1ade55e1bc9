"""A page: from what servers turn away to the people whom their ModelService names, and nothing of it afterwards."""

from __future__ import annotations

import time
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest

from e2e import monitoring
from e2e.conftest import HOME
from e2e.installed import NAMESPACE
from sizes import only_full
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.installed import Operator
    from e2e.kubectl import Kubectl, Object
    from e2e.modelservices import ModelService
    from e2e.monitoring import Hook, Stack

pytestmark = [
    pytest.mark.node,
    only_full("builds large peers"),
]

BURN = "ModelServiceErrorBudgetBurn"
TOO_MANY = 0.0144  # of the requests may not fail over an hour and over five minutes at 99.9 %
AVAILABILITY = {"name": "availability", "target": "99.9%"}
LATENCY = {"name": "latency", "target": "90%", "threshold": "5s"}
# One asker at a time is served, six are too many: what waits for a batch to gather fills the queue.
NARROW = {"maxQueue": 1, "maxBatchDelay": "200ms"}
STEP_SECONDS, REQUESTS_PER_STEP = 15, 30


def history(**failing: range) -> Iterator[str]:
    """Give an hour of each service's requests, of which a tenth failed so many seconds ago."""
    now = int(time.time())
    yield "# TYPE model_server_requests counter\n"
    looks = range(3600, -1, -STEP_SECONDS)
    for service, ago in failing.items():
        bad = [*accumulate(REQUESTS_PER_STEP // 10 if seconds in ago else 0 for seconds in looks)]
        good = [REQUESTS_PER_STEP * number - count for number, count in enumerate(bad, start=1)]
        for code, counts in (("200", good), ("500", bad)):
            own = f'namespace="{NAMESPACE}",modelservice="{service}",pod="before",code="{code}"'
            for seconds, count in zip(looks, counts, strict=True):
                yield f"model_server_requests_total{{{own}}} {count} {now - seconds}\n"
    yield "# EOF\n"


@pytest.fixture
def stack(kubectl: Kubectl, operator: Operator, tmp_path: Path) -> Iterator[Stack]:
    if HOME.driver_name != "node":
        pytest.skip("Prometheus runs beside the node, from where it reaches the pods of no other cluster")
    stack = monitoring.Stack(kubectl, HOME.kubeconfig, tmp_path)
    with stack.installed():
        kubectl("apply", "--filename=-", given=(monitor := operator.monitor(monitoring.LABEL)))
        yield stack
        kubectl("delete", "--filename=-", given=monitor)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with monitoring.hook() as hook:
        yield hook


@pytest.fixture
def both(
    stack: Stack, services: Callable[[str], ModelService], hook: Hook, kubectl: Kubectl, perceptron: Model
) -> tuple[ModelService, ModelService]:
    """Two services, each with people of its own: one with servers, one that was scaled to nothing."""
    del stack  # it goes after they do

    def made(name: str, **spec: object) -> ModelService:
        address = {"name": f"people-of-{name}", "key": "url"}
        kubectl("create", "secret", "generic", address["name"], f"--from-literal=url={hook.url}/{name}")
        service = services(name)
        alerting = {"receiver": {"webhook": {"urlSecretRef": address}}}
        model = {"uri": perceptron.uri, "digest": perceptron.digest}
        service.apply(model=model, monitoring={"alerting": alerting}, **spec)
        return service

    paged = made("paged", replicas=2, serving=NARROW, slo={"objectives": [AVAILABILITY, LATENCY]})
    return paged, made("other", replicas=0, slo={"objectives": [AVAILABILITY]})


def test_a_page_comes_by_the_services_own_route_and_all_of_it_goes_with_the_service(
    stack: Stack, hook: Hook, both: tuple[ModelService, ModelService], client: Client, perceptron: Model
) -> None:
    def known(service: str) -> set[str]:
        stack.follow()
        return stack.of(NAMESPACE, service)

    def alert() -> Object:
        rules = stack.rules(f"{NAMESPACE}/paged/availability-fast")
        return next(each for each in rules if each["type"] == "alerting")

    def share(window: str) -> float:
        return stack.value(f'slo:sli_error:ratio_rate{window}{{modelservice="paged", slo="availability"}}')

    def pages(service: str) -> list[Object]:
        return [each for each in hook.alerts(service) if each["labels"].get("long") == "1h"]

    paged, other = both
    paged.until_ready(2)
    other.until("Monitored", "True", "Selected")
    assert "latency at 90%: no critical alert over 1h" in paged.until("Monitored", "True", "Selected")["message"]

    # One had its failures until half an hour ago, the other has them still, though nobody answers for it any more.
    with stack.watching(history(paged=range(2100, 3600), other=range(3600))):
        until(lambda: known("paged") == {"job", "targets", "rules", "route"}, "it is watched", details=stack.log)
        until(lambda: alert()["health"] == "ok", "its alert was looked at", details=alert)
        assert alert()["state"] == "inactive"
        assert share("5m") < TOO_MANY < share("1h")
        ready = f'modelservice_replicas_ready{{namespace="{NAMESPACE}", name="paged"}}'
        until(lambda: stack.value(ready) == 2, "the operator tells of it", details=stack.log)
        until(lambda: pages("other"), "the other's people are told", patience=120, details=stack.log)
        assert "paged" not in hook.told

        with client.load("paged", perceptron.inputs[:1]) as load:
            page, *_ = until(lambda: pages("paged"), "its people are told", patience=120, details=stack.log)
        assert any(": 429 " in failure for failure in load.failures)
        assert page["receiver"] == f"{NAMESPACE}/paged-alerts/critical"
        assert page["status"] == "firing"
        assert page["labels"].items() >= {"alertname": BURN, "severity": "critical", "slo": "availability"}.items()
        assert page["annotations"]["summary"].startswith(f"Model {NAMESPACE}/paged uses up its error budget")
        assert page["annotations"]["runbook_url"].endswith(f"/{BURN}")
        whose = {
            path: {(each["labels"]["namespace"], each["labels"]["modelservice"]) for each in hook.alerts(path)}
            for path in hook.told
        }
        assert whose == {name: {(NAMESPACE, name)} for name in ("paged", "other")}

        paged.delete()
        until(lambda: not paged.traces(), "nothing is left in the cluster", details=paged.traces)
        until(lambda: not known("paged"), "nothing is left beside it", details=lambda: known("paged"))
        assert known("other") == {"job", "rules", "alerts", "route"}
