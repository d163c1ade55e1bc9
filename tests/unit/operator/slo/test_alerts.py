"""What every alert of a service must have: labels, words, a runbook, and series that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from model_server.drift import Drift
from model_server.metrics import Metrics, Now, exposition
from modelservice_operator.gauges import Gauges
from modelservice_operator.slo import ALERTS, Links, rule_groups
from unit.operator.makers import parsed

DOCS = Path(__file__).parents[4] / "docs"
LINKS = Links("https://example.com/runbooks/{alert}.md", "https://example.com/d?ns={namespace}&name={name}")
DRIFT = {"drift": {}}
SLO = {
    "objectives": [
        {"name": "availability", "target": "99.9%"},
        {"name": "latency", "target": "99%", "threshold": "250ms"},
    ]
}


def rules(links: Links = LINKS, **spec: object) -> list[dict[str, Any]]:
    groups = rule_groups("ml", "m", parsed(slo=SLO, **spec), links)
    return [rule for group in groups for rule in group["rules"]]


def alerts(**spec: object) -> list[dict[str, Any]]:
    return [rule for rule in rules(**spec) if "alert" in rule]


def test_every_alert_says_whom_it_is_about_and_what_to_do() -> None:
    for alert in alerts():
        assert alert["labels"].items() >= {"namespace": "ml", "modelservice": "m"}.items()
        assert alert["labels"]["severity"] in {"critical", "warning"}
        told = alert["annotations"]
        assert told["summary"].endswith(".")
        assert told["description"].endswith((".", ")."))
        assert told["runbook_url"] == f"https://example.com/runbooks/{alert['alert']}.md"
        assert told["dashboard_url"] == "https://example.com/d?ns=ml&name=m"


def test_where_there_is_no_dashboard_none_is_linked() -> None:
    found = [rule for rule in rules(Links("https://example.com/{alert}")) if "alert" in rule]
    assert all(alert["annotations"].keys() == {"summary", "description", "runbook_url"} for alert in found)


def test_every_alert_has_a_runbook_and_a_line_in_the_docs() -> None:
    found = [*dict.fromkeys(alert["alert"] for alert in alerts(monitoring=DRIFT))]
    assert sorted(found) == sorted(ALERTS)
    assert {file.stem for file in (DOCS / "runbooks").iterdir()} == {*ALERTS}
    assert [*re.findall(r"^\| \[(\w+)\]", (DOCS / "service-quality.md").read_text(), re.MULTILINE)] == [*ALERTS]
    for alert in ALERTS:
        text = (DOCS / f"runbooks/{alert}.md").read_text()
        assert re.findall(r"^#+ (\w+)$", text, re.MULTILINE) == [
            *(alert, "Meaning", "Impact", "Diagnosis", "Mitigation")
        ]


def test_no_alert_about_a_budget_waits() -> None:
    assert not [alert for alert in alerts() if "for" in alert and alert["alert"].endswith("Burn")]


def test_who_pages() -> None:
    assert {alert["alert"] for alert in alerts() if alert["labels"]["severity"] == "critical"} == {
        *("ModelServiceErrorBudgetBurn", "ModelServiceFailing")
    }


def test_what_is_asked_for_exists() -> None:
    """Names from the operator's own text and from the model server's; a recorded one must be recorded before."""
    drift = Drift("x", 200, {"": 0.1}, 0.0)
    now = Now(ready=True, queue_oldest_seconds=0, born=0, info={}, load_seconds={"load": 1}, drifts=[drift])
    server = set(re.findall(r"^(model_server_\w+)\{", exposition(Metrics(8), now, "m").decode(), re.MULTILINE))
    exported = server | set(re.findall(r"^# TYPE (\S+) gauge$", Gauges().text(), re.MULTILINE))
    recorded: set[str] = set()
    for rule in rules(monitoring=DRIFT):
        query = re.sub(r'"[^"]*"', '""', rule["expr"])
        assert set(re.findall(r"\b(?:modelservice|model_server)_\w+", query)) <= exported
        assert set(re.findall(r"\bslo:[\w:]+", query)) <= recorded
        recorded |= {rule["record"]} if "record" in rule else set()
    told = " ".join(file.read_text() for file in (DOCS / "runbooks").iterdir())
    families = {name.removesuffix("_count") for name in server}
    assert set(re.findall(r"\bmodel_server_\w+", told)) <= exported | families
    assert set(re.findall(r"\bslo:[\w:]+", told)) <= recorded


def test_the_time_that_a_pod_may_take_to_start_is_waited_for() -> None:
    [missing] = [alert for alert in alerts(startupTimeout="20m") if alert["alert"] == "ModelServiceReplicasMissing"]
    [slow] = [alert for alert in alerts(startupTimeout="20m") if alert["alert"] == "ModelServiceSlowLoad"]
    assert missing["for"] == "25m"
    assert slow["expr"].endswith(" > 960")


def test_groups_are_named_once_in_the_whole_cluster() -> None:
    names = [
        group["name"]
        for namespace, name in (("a", "b-c"), ("a-b", "c"), ("a", "b"))
        for group in rule_groups(namespace, name, parsed(slo=SLO), LINKS)
    ]
    assert len(names) == len({*names}) == 18


def test_who_promises_nothing_has_no_rules_unless_inputs_are_watched() -> None:
    assert rule_groups("ml", "m", parsed(), LINKS) == []
    [group] = rule_groups("ml", "m", parsed(monitoring={"drift": {"psi": "0.1", "for": "2h"}}), LINKS)
    [alert] = group["rules"]
    assert alert["expr"].endswith("> 0.1")
    assert alert["for"] == "2h"
