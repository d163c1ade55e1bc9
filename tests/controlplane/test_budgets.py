"""What is left of the error budgets: from a real Prometheus with real rules and an hour of history, into the status."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import urllib.request
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import yaml

from cluster import binaries, ports
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from modelservice_operator.budgets import Budgets
from modelservice_operator.engine.prometheus import Prometheus, PrometheusError
from modelservice_operator.engine.store import Key
from modelservice_operator.monitoring.budgets import BURN_RATE, REMAINING, Silence, quality
from modelservice_operator.slo import Links, rule_groups
from unit.operator.makers import parsed
from waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from cluster.controlplane import ControlPlane

    Object = dict[str, Any]

SLO = {"objectives": [{"name": "availability", "target": "99.9%"}]}
STEP = 300
REQUESTS, SPENT, BURNING = 200_000, 35, 80  # of five minutes: requests; errors in the past, and in the last hour
TOLD = {"name": "availability", "target": "99.9%", "budgetRemaining": "83%", "burnRate": "0.4"}


class Server:
    """A Prometheus that has loaded the rules of one service, `m`, and has seen its requests."""

    def __init__(self, directory: Path, namespace: str) -> None:
        self.namespace, self._directory = namespace, directory
        self.url = f"http://127.0.0.1:{ports.free(1)[0]}"
        groups = rule_groups(namespace, "m", parsed(slo=SLO), Links("https://example.com/{alert}"))
        for group in groups:
            group["interval"] = "1s"  # looked at more often than a person would have it, or the test would wait
        (directory / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        (directory / "prometheus.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"]}))
        (directory / "history.txt").write_text("".join(history(namespace)))
        back_fill = ["tsdb", "create-blocks-from", "openmetrics", "history.txt", "data"]
        command = [str(binaries.path("promtool")), *back_fill]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @contextmanager
    def running(self) -> Iterator[None]:
        log = self._directory / "prometheus.log"
        options = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=60d"]
        listen = f"--web.listen-address={self.url.removeprefix('http://')}"
        with log.open("wb") as output:
            command = [binaries.path("prometheus"), *options, listen]
            process = subprocess.Popen(command, cwd=self._directory, stdout=output, stderr=output)
        try:
            for query in (REMAINING, BURN_RATE):
                until(partial(self._knows, query), f"the rules have given {query}", details=log.read_text)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _knows(self, query: str) -> bool:
        asked = f"{self.url}/api/v1/query?{urlencode({'query': query})}"
        with suppress(OSError), urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 (http, see above)
            return bool(json.loads(answer.read())["data"]["result"])
        return False


def history(namespace: str) -> Iterator[str]:
    """Give what a server has counted in the last hour, and what the rules have made of the six hours before."""
    now = int(time.time())
    own = f'namespace="{namespace}",modelservice="m"'
    labels = f'{own},slo="availability",sloth_id="{namespace}/m/availability",sloth_service="{namespace}/m"'
    labels += ',sloth_slo="availability"'
    yield "# TYPE model_server_requests counter\n"
    for code, per_step in (("200", REQUESTS - BURNING), ("500", BURNING)):
        for second in range(0, 3601, 15):
            count = 1_000_000 + per_step * second / STEP
            yield f'model_server_requests_total{{{own},code="{code}"}} {count} {now - 3600 + second}\n'
    for name, value in (("slo:requests:increase5m", REQUESTS), ("slo:errors:increase5m", SPENT)):
        yield f"# TYPE {name} gauge\n"
        for step in range(-72, 0):
            yield f"{name}{{{labels}}} {value} {(now // STEP + step) * STEP}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return Server(tmp_path_factory.mktemp("prometheus"), "ml")


@asynccontextmanager
async def asking(budgets: Budgets, group: asyncio.TaskGroup) -> AsyncIterator[asyncio.Queue[list[Key] | None]]:
    """What the budgets wake while they are kept up with."""
    woken: asyncio.Queue[list[Key] | None] = asyncio.Queue()

    def wake(keys: Iterable[Key] | None) -> None:
        if keys is None or (known := [*keys]):
            woken.put_nowait(None if keys is None else known)

    task = group.create_task(budgets.run(wake))
    yield woken
    task.cancel()


async def test_budget_and_burn_rate_are_what_was_counted_until_prometheus_is_away(server: Server) -> None:
    slo = parsed(slo=SLO).slo
    assert slo is not None
    now = [0.0]
    budgets = Budgets(Prometheus(server.url), clock=lambda: now[0], every_seconds=0.1)
    m = Key("ml", "m")
    with server.running():
        async with asyncio.timeout(60), asyncio.TaskGroup() as group, asking(budgets, group) as woken:
            assert await woken.get() is None  # of the first answer everybody is told
    found = quality(slo, budgets.of(m), [])
    assert found.objectives == [TOLD]
    assert found.within_budget[:2] == ("True", "WithinBudget")

    async with asyncio.timeout(60), asyncio.TaskGroup() as group, asking(budgets, group) as woken:
        now[0] = 119.0  # one that starts anew is no news
        await asyncio.sleep(0)
        assert not isinstance(budgets.of(m), Silence)
        now[0] = 121.0
        assert await woken.get() is None
    assert quality(slo, budgets.of(m), found.objectives).objectives == [{"name": "availability", "target": "99.9%"}]
    assert quality(slo, budgets.of(m), []).within_budget[:2] == ("Unknown", "PrometheusUnavailable")


async def test_what_prometheus_has_to_say_about_a_question_is_told(server: Server) -> None:
    with server.running():
        assert await Prometheus(server.url + "/").ask("vector(1)") == [({}, 1.0)]
        with pytest.raises(PrometheusError, match=r"HTTP 400: .*parse error"):
            await Prometheus(server.url).ask("1 +")
        with pytest.raises(PrometheusError, match="HTTP 404"):
            await Prometheus(f"{server.url}/elsewhere").ask("1")
        with pytest.raises(PrometheusError, match="No such file"):
            await Prometheus(server.url, ca_file="/nowhere").ask("1")
    with pytest.raises(PrometheusError, match="Cannot connect"):
        await Prometheus(server.url).ask("1")


def test_the_status_tells_what_is_left_as_soon_as_a_prometheus_is_named(
    control_plane: ControlPlane, kubectl: Callable[..., str], namespace: str, tmp_path: Path
) -> None:
    operator = OperatorProcess(kubectl, control_plane.kubeconfig, tmp_path, ports.free(1)[0])
    services = Services(kubectl, namespace)
    server = Server(tmp_path, namespace)

    def restart(url: str) -> None:
        operator.stop()
        config = json.loads(operator.config.read_text())
        operator.config.write_text(json.dumps(config | {"prometheus": {"url": url}}))
        operator.start()

    def version() -> str:
        return str(services.get("modelservice")["metadata"]["resourceVersion"])

    try:
        operator.start()
        services.apply("m", replicas=0, slo=SLO)
        services.until("WithinBudget", "Unknown", "NoPrometheus")
        assert services.get("modelservice")["status"]["slo"] == [{"name": "availability", "target": "99.9%"}]

        restart(server.url)  # where nobody is yet
        services.until("WithinBudget", "Unknown", "PrometheusUnavailable")
        with server.running():
            restart(server.url)
            services.until("WithinBudget", "True", "WithinBudget")
            assert services.get("modelservice")["status"]["slo"] == [TOLD]
            header, row = kubectl("get", "modelservices", f"--namespace={namespace}").splitlines()
            assert row[header.index("BUDGET") :].split()[0] == "83%"

            written = version()
            restart(server.url)
            until(lambda: 'budget_looks_total{outcome="Answered"}' in operator.metrics(), "it has looked")
            until(operator.is_idle, "everything was looked at")
            assert version() == written
        restart(server.url)  # it has not answered yet, which is no news for a while
        until(operator.is_idle, "everything was looked at")
        assert version() == written
        services.apply("m", replicas=0)
        until(lambda: not services.condition("WithinBudget"), "nothing is promised any more")
        assert "slo" not in services.get("modelservice")["status"]
    finally:
        operator.stop()
