from __future__ import annotations

from typing import Any

from modelservice_operator.api.types import Receiver
from modelservice_operator.render.alertmanager_config import alertmanager_config

Body = dict[str, Any]

KEY = {"name": "alerts", "key": "it"}


def receiver(**integrations: Body) -> Receiver:
    return Receiver.model_validate(integrations)


def test_an_alertmanager_config_in_full() -> None:
    slack = {"urlSecretRef": KEY, "channel": "#nlp"}
    body = alertmanager_config("ml", "m", receiver(slack=slack), {"team": "a"})
    title = (
        "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }} "
        "{{ .CommonLabels.namespace }}/{{ .CommonLabels.modelservice }}"
    )
    text = (
        "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n"
        "{{ .Annotations.runbook_url }}\n{{ end }}"
    )
    told = [{"apiURL": KEY, "channel": "#nlp", "title": title, "text": text, "sendResolved": True}]
    ours = {"name": "modelservice", "value": "m", "matchType": "="}
    has_slo = {"name": "slo", "value": ".+", "matchType": "=~"}
    critical = {"name": "severity", "value": "critical", "matchType": "="}
    warning = {"name": "severity", "value": "warning", "matchType": "="}
    assert body == {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": {
            "name": "m-alerts",
            "namespace": "ml",
            "labels": {
                "team": "a",
                "modelservice.dev/name": "m",
                "app.kubernetes.io/managed-by": "modelservice-operator",
                "app.kubernetes.io/part-of": "modelservice",
            },
        },
        "spec": {
            "route": {
                "receiver": "warning",
                "matchers": [ours],
                "groupBy": ["namespace", "modelservice", "alertname", "slo"],
                "groupWait": "30s",
                "groupInterval": "5m",
                "repeatInterval": "1d",
                "routes": [
                    {
                        "receiver": "critical",
                        "matchers": [critical],
                        "groupWait": "10s",
                        "groupInterval": "1m",
                        "repeatInterval": "1h",
                    }
                ],
            },
            "inhibitRules": [
                {"sourceMatch": [ours, critical, has_slo], "targetMatch": [ours, warning, has_slo], "equal": ["slo"]}
            ],
            "receivers": [
                {"name": "critical", "slackConfigs": told},
                {"name": "warning", "slackConfigs": told},
            ],
        },
    }


def test_everybody_who_is_given_is_told_and_nobody_else() -> None:
    everybody = receiver(
        webhook={"urlSecretRef": KEY}, slack={"urlSecretRef": KEY}, pagerduty={"routingKeySecretRef": KEY}
    )
    for one in alertmanager_config("ml", "m", everybody, {})["spec"]["receivers"]:
        assert one.keys() == {"name", "webhookConfigs", "slackConfigs", "pagerdutyConfigs"}
        assert one["webhookConfigs"] == [{"urlSecret": KEY, "sendResolved": True}]
        assert "channel" not in one["slackConfigs"][0]
        assert one["pagerdutyConfigs"][0]["severity"] == one["name"]
    one, _ = alertmanager_config("ml", "m", receiver(webhook={"urlSecretRef": KEY}), {})["spec"]["receivers"]
    assert one.keys() == {"name", "webhookConfigs"}
