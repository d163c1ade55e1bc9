"""The AlertmanagerConfig, by which an Alertmanager of the Prometheus Operator tells a model's own people of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.render.children import child_metadata
from modelservice_operator.slo.burn import CRITICAL, WARNING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.api.types import PagerDuty, Receiver, SecretKeyReference, Slack, Webhook

Body = dict[str, Any]

_MODEL = "{{ .CommonLabels.namespace }}/{{ .CommonLabels.modelservice }}"
_TITLE = f"[{{{{ .Status | toUpper }}}}] {{{{ .CommonLabels.alertname }}}} {_MODEL}"
_TOLD = ("summary", "description", "runbook_url")
_TEXT = "{{ range .Alerts }}" + "".join(f"{{{{ .Annotations.{note} }}}}\n" for note in _TOLD) + "{{ end }}"


def alertmanager_config(namespace: str, service: str, receiver: Receiver, labels: Mapping[str, str]) -> Body:
    """Return it with `labels`, by which an Alertmanager selects it.

    The Prometheus Operator adds to every route that the label `namespace` is this namespace, which all of our alerts
    have. Its lists have no keys, so they are written in full.
    """
    return {
        "apiVersion": "monitoring.coreos.com/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": child_metadata(namespace, service, names.routes(service), labels),
        "spec": {
            "route": {
                "receiver": WARNING,
                "matchers": [_is("modelservice", service)],
                "groupBy": ["namespace", "modelservice", "alertname", "slo"],
                "groupWait": "30s",
                "groupInterval": "5m",
                "repeatInterval": "1d",
                "routes": [
                    {
                        "receiver": CRITICAL,
                        "matchers": [_is("severity", CRITICAL)],
                        "groupWait": "10s",
                        "groupInterval": "1m",
                        "repeatInterval": "1h",
                    },
                ],
            },
            # Whoever is called because a budget goes fast need not hear that it goes slowly, too.
            "inhibitRules": [
                {
                    "sourceMatch": [_is("modelservice", service), _is("severity", CRITICAL), _has("slo")],
                    "targetMatch": [_is("modelservice", service), _is("severity", WARNING), _has("slo")],
                    "equal": ["slo"],
                },
            ],
            "receivers": [{"name": severity} | _integrations(receiver, severity) for severity in (CRITICAL, WARNING)],
        },
    }


def _integrations(receiver: Receiver, severity: str) -> Body:
    return {
        **({"webhookConfigs": [_webhook(receiver.webhook)]} if receiver.webhook else {}),
        **({"slackConfigs": [_slack(receiver.slack)]} if receiver.slack else {}),
        **({"pagerdutyConfigs": [_pagerduty(receiver.pagerduty, severity)]} if receiver.pagerduty else {}),
    }


def _webhook(webhook: Webhook) -> Body:
    return {"urlSecret": _key(webhook.url_secret_ref), "sendResolved": True}


def _slack(slack: Slack) -> Body:
    return {
        "apiURL": _key(slack.url_secret_ref),
        **({"channel": slack.channel} if slack.channel else {}),
        "title": _TITLE,
        "text": _TEXT,
        "sendResolved": True,
    }


def _pagerduty(pagerduty: PagerDuty, severity: str) -> Body:
    return {
        "routingKey": _key(pagerduty.routing_key_secret_ref),
        "severity": severity,
        "description": _TITLE,
        "sendResolved": True,
    }


def _key(reference: SecretKeyReference) -> Body:
    return {"name": reference.name, "key": reference.key}


def _is(label: str, value: str) -> Body:
    return {"name": label, "value": value, "matchType": "="}


def _has(label: str) -> Body:
    return {"name": label, "value": ".+", "matchType": "=~"}
