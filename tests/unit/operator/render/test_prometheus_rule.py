from __future__ import annotations

from modelservice_operator.render.prometheus_rule import prometheus_rule
from modelservice_operator.slo import Links, rule_groups
from unit.operator.makers import parsed

PROMISES = parsed(slo={"objectives": [{"name": "availability", "target": "99.9%"}]})
LABELS = {"release": "prometheus", "modelservice.dev/name": "other"}
LINKS = Links("https://example.com/{alert}.md", "https://example.com/d?ns={namespace}&name={name}")


def test_it_has_the_rules_of_the_service_and_the_labels_by_which_a_prometheus_selects_it() -> None:
    assert prometheus_rule("ml", "m", PROMISES, LABELS, LINKS) == {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "m-slo",
            "namespace": "ml",
            "labels": {
                "release": "prometheus",
                "modelservice.dev/name": "m",
                "app.kubernetes.io/managed-by": "modelservice-operator",
                "app.kubernetes.io/part-of": "modelservice",
            },
        },
        "spec": {"groups": rule_groups("ml", "m", PROMISES, LINKS)},
    }


def test_who_promises_nothing_has_none() -> None:
    assert prometheus_rule("ml", "m", parsed(), LABELS, LINKS) is None
