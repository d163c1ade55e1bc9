"""What the chart offers to watch operator and models with: a ServiceMonitor, alerts, dashboards. Without a cluster."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY, generate_latest

import gpus
from cluster import binaries
from controlplane.chart import CHART, RELEASE, ROOT, Helm
from model_server import metrics as server
from model_server.drift import Drift
from modelservice_operator.cli import KINDS
from modelservice_operator.gauges import Gauges
from panels import filled, panels
from promtool import History, ask, newest
from stories import durations, promising, requests, slo
from stories import groups as rules_of
from vllm_metrics import Vllm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Object = dict[str, Any]

DOCUMENTATION = ROOT / "docs/metrics.md"
FOLDER = CHART / "files/dashboards"
ALL = [f"--set=selfMonitoring.{part}.enabled=true" for part in ("serviceMonitor", "rules", "dashboard")]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Object]:
    more = ["--set=monitoring.labels.release=prometheus", "--set=selfMonitoring.dashboard.rows={GPU,vLLM}"]
    return Helm(tmp_path_factory.mktemp("helm")).manifests(*ALL, *more)


@pytest.fixture(scope="module")
def groups(rendered: dict[tuple[str, str], Object]) -> list[Object]:
    found: list[Object] = rendered["PrometheusRule", RELEASE]["spec"]["groups"]
    return found


@pytest.fixture(scope="module")
def dashboards(rendered: dict[tuple[str, str], Object]) -> list[Object]:
    return [json.loads(text) for text in rendered["ConfigMap", f"{RELEASE}-dashboard"]["data"].values()]


def promtool(directory: Path, *arguments: str, **files: object) -> None:
    """Run promtool in a folder that has these files; a failure is the test's."""
    for name, content in files.items():
        (directory / f"{name}.yaml").write_text(json.dumps(content))
    command = [str(binaries.path("promtool")), *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_of_it_is_there_unless_it_is_turned_on(tmp_path: Path) -> None:
    kinds = {kind for kind, _ in Helm(tmp_path).manifests()}
    assert not kinds & {"ServiceMonitor", "PrometheusRule", "Service"}
    assert ("ConfigMap", f"{RELEASE}-dashboard") not in Helm(tmp_path).manifests()


def test_the_service_monitor_leads_to_the_operators_pods(rendered: dict[tuple[str, str], Object]) -> None:
    monitor = rendered["ServiceMonitor", RELEASE]
    service = rendered["Service", f"{RELEASE}-metrics"]
    template = rendered["Deployment", RELEASE]["spec"]["template"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["jobLabel"] in service["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    [endpoint], [port] = monitor["spec"]["endpoints"], service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] in {each["name"] for each in template["spec"]["containers"][0]["ports"]}


# -- alerts


@dataclass(frozen=True)
class Story:
    """What Prometheus sees, one value for every minute, and when an alert is to fire."""

    series: dict[str, str]
    fires_after: int
    """Minutes; one minute before, it does not fire yet."""
    labels: dict[str, str] = field(default_factory=dict)
    """Of the alert, beside its name, state and severity."""


OF_OPERATOR = {"namespace": "operators", "job": "modelservice-operator"}
OF_LEADER = OF_OPERATOR | {"pod": "operator-1", "instance": "10.0.0.1:8080"}
OF_STANDBY = OF_OPERATOR | {"pod": "operator-2", "instance": "10.0.0.2:8080"}
OF_MODEL = {"namespace": "ml", "name": "nlp"}
OF_IDLE_MODEL = {"namespace": "ml", "name": "idle"}
OF_WATCHED_MODEL = {"namespace": "ml", "name": "watched"}
OF_PAUSED_MODEL = {"namespace": "ml", "name": "paused"}


def series(metric: str, labels: dict[str, str], **more: str) -> str:
    return metric + "{" + ", ".join(f'{name}="{value}"' for name, value in (labels | more).items()) + "}"


def leader(metric: str, **more: str) -> str:
    return series(f"modelservice_operator_{metric}", OF_LEADER, **more)


def standby(metric: str) -> str:
    return series(f"modelservice_operator_{metric}", OF_STANDBY)


def condition(name: str, labels: dict[str, str] = OF_MODEL) -> str:
    return series("modelservice_condition", labels, condition=name)


def wanted(labels: dict[str, str] = OF_MODEL) -> str:
    return series("modelservice_replicas_wanted", labels)


def promoted(labels: dict[str, str] = OF_MODEL) -> str:
    return series("modelservice_promoted", labels)


def paused(labels: dict[str, str] = OF_MODEL) -> str:
    return series("modelservice_rollout_phase", labels, phase="Paused")


STORIES = {
    "ModelServiceOperatorAbsent": Story({}, 5),
    "ModelServiceOperatorWithoutLeader": Story({leader("leading"): "0x60", standby("leading"): "0x60"}, 2, OF_OPERATOR),
    "ModelServiceOperatorReconcileErrors": Story(
        {leader("reconcile_errors_total", error="Invalid"): "0+1x60", leader("reconcile_seconds_count"): "0+5x60"},
        16,  # the first rate needs two values
        OF_OPERATOR,
    ),
    "ModelServiceOperatorQueueStuck": Story(
        {leader("leading"): "1x60", leader("queue_longest_wait_seconds"): "301+60x60"}, 5, OF_LEADER
    ),
    "ModelServiceOperatorApiErrors": Story(
        {
            leader("api_requests_total", verb="apply", code="200"): "0+90x60",
            leader("api_requests_total", verb="apply", code="503"): "0+10x60",
        },
        11,
        OF_OPERATOR,
    ),
    "ModelServiceOperatorForbidden": Story(
        {leader("api_requests_total", verb="list", resource="pods", code="403"): "0+2x60"},
        11,
        OF_OPERATOR | {"resource": "pods"},
    ),
    "ModelServiceNotAvailable": Story(
        {condition("Available"): "0x60", wanted(): "2x60", promoted(): "1x60", paused(): "1x60"}, 10, OF_MODEL
    ),
    "ModelServiceStalled": Story({condition("Stalled"): "1x60"}, 10, OF_MODEL),
    "ModelServiceNotScaled": Story({condition("AutoscalerReady"): "0x60", wanted(): "2x60"}, 30, OF_MODEL),
}

# One operator leads and one stands by, one model serves and one was scaled to zero; some conflicts are daily life. One
# model was made paused. One is down, but it has promised something and so has alerts of its own.
HEALTHY = {
    leader("leading"): "1x60",
    standby("leading"): "0x60",
    leader("queue_longest_wait_seconds"): "0x60",
    standby("queue_longest_wait_seconds"): "0+60x60",
    leader("longest_reconcile_seconds"): "0x60",
    leader("reconcile_errors_total", error="Conflict"): "0+1x60",
    leader("reconcile_seconds_count"): "0+50x60",
    leader("api_requests_total", verb="apply", resource="services", code="200"): "0+90x60",
    leader("api_requests_total", verb="apply", resource="services", code="409"): "0+9x60",
    leader("api_requests_total", verb="list", resource="customresourcedefinitions", code="403"): "0+2x60",
    condition("Available"): "1x60",
    condition("Stalled"): "0x60",
    condition("AutoscalerReady"): "1x60",
    wanted(): "2x60",
    condition("Available", OF_IDLE_MODEL): "0x60",
    condition("Stalled", OF_IDLE_MODEL): "0x60",
    condition("AutoscalerReady", OF_IDLE_MODEL): "0x60",
    wanted(OF_IDLE_MODEL): "0x60",
    condition("Available", OF_PAUSED_MODEL): "0x60",
    condition("Stalled", OF_PAUSED_MODEL): "0x60",
    wanted(OF_PAUSED_MODEL): "2x60",
    promoted(OF_PAUSED_MODEL): "0x60",
    paused(OF_PAUSED_MODEL): "1x60",
    condition("Available", OF_WATCHED_MODEL): "0x60",
    condition("Stalled", OF_WATCHED_MODEL): "0x60",
    wanted(OF_WATCHED_MODEL): "2x60",
    'slo:objective:ratio{namespace="ml", modelservice="watched"}': "0.999x60",
}


def prometheus_sees(name: str, given: dict[str, str], alerts: str, **at: list[dict[str, str]]) -> Object:
    """A test for promtool: which of these alerts fire at which time. (Its `alert_rule_test` would want every word.)"""
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in given.items()],
        "promql_expr_test": [
            {
                "expr": alerts,
                "eval_time": time,
                "exp_samples": [{"labels": series("ALERTS", each), "value": 1} for each in expected],
            }
            for time, expected in at.items()
        ],
    }


def test_promtool_finds_the_alerts_sound(groups: list[Object], tmp_path: Path) -> None:
    promtool(tmp_path, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", rules={"groups": groups})


def test_each_alert_fires_when_it_should_and_none_while_all_is_well(groups: list[Object], tmp_path: Path) -> None:
    severities = {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    tests = [prometheus_sees("all is well", HEALTHY, "ALERTS", **{"1m": [], "20m": [], "59m": []})]
    for name, story in STORIES.items():
        alert = {"alertname": name, "alertstate": "firing", "severity": severities[name]} | story.labels
        at = {f"{story.fires_after - 1}m": [], f"{story.fires_after}m": [alert]}
        firing = f'ALERTS{{alertname="{name}", alertstate="firing"}}'
        tests.append(prometheus_sees(name, story.series, firing, **at))
    test = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    promtool(tmp_path, "test", "rules", "test.yaml", test=test, rules={"groups": groups})


def test_every_alert_has_a_story_and_tells_what_to_do(groups: list[Object]) -> None:
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert alerts.keys() == STORIES.keys()
    for alert in alerts.values():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"].keys() == {"summary", "description"}
        assert all(text.endswith((".", ").")) for text in alert["annotations"].values())


def test_the_documentation_has_every_alert_with_its_severity(groups: list[Object]) -> None:
    rows = re.findall(r"^\| (ModelService\w+) \| (\w+) \|", DOCUMENTATION.read_text(), re.MULTILINE)
    rules = [rule for group in groups for rule in group["rules"]]
    assert rows == [(rule["alert"], rule["labels"]["severity"]) for rule in rules]


# -- what is asked for exists


def exported() -> set[str]:
    """The names of all series that the operator has."""
    names = set()
    for metric in REGISTRY.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(metric.type, ("",))
        names |= {f"{metric.name}{suffix}" for suffix in suffixes}
    return names | set(re.findall(r"^# TYPE (\S+) gauge$", Gauges().text(), re.MULTILINE))


def of_the_server() -> set[str]:
    """The names of all series that the model server has."""
    drift = Drift("x", 200, {"": 0.1}, 0.0)
    now = server.Now(ready=True, queue_oldest_seconds=0, born=0, info={}, load_seconds={"load": 1}, drifts=[drift])
    text = server.exposition(server.Metrics(max_batch_size=8), now, "m").decode()
    return set(re.findall(r"^(\w+)\{", text, re.MULTILINE))


def of_the_rules() -> set[str]:
    """The names of the series that the rules of objectives make."""
    return {rule["record"] for group in rules_of(promising(slo=slo())) for rule in group["rules"] if "record" in rule}


def of_vllm() -> set[str]:
    """The names of the series that vLLM has, as it defines them."""
    return set(re.findall(r"^([\w:]+)\{", generate_latest(Vllm().registry).decode(), re.MULTILINE)) | {
        "http_requests_total"  # which it counts from the first request on
    }


def of_the_gpu_exporter() -> set[str]:
    """The names of the series that an exporter with DCGM's names has."""
    return set(gpus.METRICS)


def asked_for(query: str) -> set[str]:
    """The names of the series in a query: what stands before braces or is given to a function."""
    without_strings = re.sub(r'"[^"]*"', '""', query)
    return set(re.findall(r"([a-zA-Z_:][\w:]*)\{", without_strings)) | set(
        re.findall(r"\b(?:modelservice|process)_\w+", without_strings)
    )


def queries(dashboard: Object) -> Iterator[str]:
    for panel in panels(dashboard):
        yield from panel.queries
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield re.sub(r"label_values\((.*), \w+\)", r"\1", variable["query"]["query"])


def test_the_alerts_ask_for_what_the_operator_exports(groups: list[Object]) -> None:
    assert KINDS  # the whole operator is imported, so that all of its metrics are registered
    asked = {name for group in groups for rule in group["rules"] for name in asked_for(rule["expr"])}
    said = {
        name for group in groups for rule in group["rules"] for name in asked_for(rule["annotations"]["description"])
    }
    assert asked
    assert asked | said <= exported()


def test_the_dashboards_ask_for_what_somebody_exports(dashboards: list[Object]) -> None:
    asked = [asked_for(query) for dashboard in dashboards for query in queries(dashboard)]
    assert all(asked)
    known = exported() | of_the_server() | of_the_rules() | of_vllm() | of_the_gpu_exporter() | {"up", "ALERTS"}
    assert set().union(*asked) <= known


def test_promtool_understands_every_query_of_the_dashboards(dashboards: list[Object], tmp_path: Path) -> None:
    chosen = {"job": ".*", "namespace": "ml", "name": "nlp"}
    asked = [filled(query, chosen, 15, 15) for dashboard in dashboards for query in queries(dashboard)]
    rules = [{"record": f"query{number}", "expr": query} for number, query in enumerate(asked)]
    promtool(tmp_path, "check", "rules", "rules.yaml", rules={"groups": [{"name": "dashboards", "rules": rules}]})


def test_panels_about_promises_are_answered_by_the_rules(dashboards: list[Object]) -> None:
    hour = 3600
    seen = requests(15, ((hour, 10),), ((hour, 0.01),)) | durations(15, ((hour, 10),), ((hour, 9.9),), bound=0.3)
    rules = rules_of(promising(slo=slo(threshold="300ms")))
    found = [panel for each in dashboards for panel in panels(each) if "slo:" in panel.queries[0]]
    assert len(found) >= 6
    chosen = {"namespace": "ml", "name": "m"}
    asked = [(filled(query, chosen, 15, 15), hour) for panel in found for query in panel.queries]
    assert all(ask(newest(), rules, History(seen, hour), asked))


def test_the_chart_leaves_out_rows_whose_source_may_be_missing_until_they_are_asked_for(
    dashboards: list[Object], tmp_path: Path
) -> None:
    usual = Helm(tmp_path).manifests(*ALL)["ConfigMap", f"{RELEASE}-dashboard"]["data"].values()
    sources = [json.loads((FOLDER / f"{each['uid']}.json").read_text()) for each in dashboards]
    assert dashboards == sources
    for source in sources:
        source["panels"] = [panel for panel in source["panels"] if not panel.get("collapsed")]
    assert [json.loads(text) for text in usual] == sources
