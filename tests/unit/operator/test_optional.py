from __future__ import annotations

from modelservice_operator.config import Config, Limits, Monitoring
from modelservice_operator.monitoring.collectors import Collectors, facts
from modelservice_operator.observe import Seen, observe, read
from modelservice_operator.optional import OptionalChild, optional_children
from modelservice_operator.render.prometheus_rule import prometheus_rule
from modelservice_operator.render.service_monitor import service_monitor
from modelservice_operator.slo import Links
from unit.operator.makers import CONFIG, Body, children, live, parsed, service

NOBODY = Collectors("ml")
SILENT = {"name": "Custom", "image": "x"}
SLO = {"objectives": [{"name": "availability", "target": "99.9%"}]}


def one(kind: str, seen: Seen, config: Config, around: Collectors = NOBODY, *, why_not: str = "") -> OptionalChild:
    """What is thought about one kind of child."""
    children = optional_children(seen, config, around, lambda *_: why_not)
    [child] = [each for each in children if each.resource.kind == kind]
    return child


def rule(*, is_wanted: bool = True, **spec: object) -> OptionalChild:
    """What is thought about the PrometheusRule of a service."""
    config = CONFIG.model_copy(update={"monitoring": Monitoring(prometheus_rules=is_wanted)})
    return one("PrometheusRule", observe(read(service(**spec)), children(), config), config)


def monitor(why_not: str = "", *, is_wanted: bool = True, **spec: object) -> OptionalChild:
    """What is thought about the ServiceMonitor of a service."""
    config = CONFIG.model_copy(update={"monitoring": Monitoring(service_monitors=is_wanted)})
    return one("ServiceMonitor", observe(read(service(**spec)), children(), config), config, why_not=why_not)


def test_a_service_that_has_metrics_wants_a_service_monitor() -> None:
    assert monitor().wanted == service_monitor("ml", "m", parsed(), {})
    assert monitor(runtime=SILENT).wanted is None
    assert monitor(is_wanted=False).wanted is None


def test_where_the_api_is_missing_it_is_wanted_all_the_same_but_not_possible() -> None:
    child = monitor("the cluster does not serve it")
    assert child.wanted is not None
    assert not child.possible
    assert monitor().possible


def test_what_is_there_is_known_so_that_it_can_be_removed() -> None:
    manifest = service_monitor("ml", "m", parsed(), {})
    assert manifest is not None
    there: Body = live(manifest)
    seen = observe(read(service(runtime=SILENT)), children(there), CONFIG)
    child = one("ServiceMonitor", seen, CONFIG)
    assert (child.wanted, child.live) == (None, {"m-metrics": there})


def test_a_service_that_promises_something_wants_a_prometheus_rule() -> None:
    links = Links(CONFIG.monitoring.runbook_url)
    assert rule(slo=SLO).wanted == prometheus_rule("ml", "m", parsed(slo=SLO), {}, links)
    assert rule().wanted is None
    assert rule(slo=SLO, is_wanted=False).wanted is None


def test_the_rules_of_what_promises_nothing_any_more_are_known_so_that_they_can_be_removed() -> None:
    there = rule(slo=SLO).wanted
    assert there is not None
    child = one("PrometheusRule", observe(read(service()), children(live(there)), CONFIG), CONFIG)
    assert (child.wanted, child.live.keys()) == (None, {"m-slo"})


def test_it_gets_the_labels_that_the_administrator_gave_or_that_the_clusters_prometheus_wants() -> None:
    spec = {"serviceMonitorSelector": {"matchLabels": {"release": "stack"}}, "serviceMonitorNamespaceSelector": {}}
    spec |= {"ruleSelector": {"matchLabels": {"rules": "ours"}}, "ruleNamespaceSelector": {}}
    prometheus = {"kind": "Prometheus", "metadata": {"namespace": "monitoring", "name": "k8s"}, "spec": spec}
    around = Collectors("ml", objects=(facts(prometheus),))
    seen = observe(read(service(slo=SLO)), children(), CONFIG)
    for given, monitors, rules in [
        ({}, {"release": "stack"}, {"rules": "ours"}),
        ({"team": "a"}, {"team": "a"}, {"team": "a"}),
    ]:
        config = CONFIG.model_copy(update={"monitoring": Monitoring(labels=given)})
        assert one("ServiceMonitor", seen, config, around).wanted == service_monitor(
            "ml", "m", parsed(slo=SLO), monitors
        )
        assert one("PrometheusRule", seen, config, around).wanted == prometheus_rule(
            "ml", "m", parsed(slo=SLO), rules, Links(config.monitoring.runbook_url)
        )


def test_whoever_names_a_receiver_gets_routes_to_it() -> None:
    receiver = {"webhook": {"urlSecretRef": {"name": "alerts", "key": "url"}}}
    for spec, wanted in [({}, None), ({"monitoring": {"alerting": {"receiver": receiver}}}, "m-alerts")]:
        child = one("AlertmanagerConfig", observe(read(service(**spec)), children(), CONFIG), CONFIG)
        assert (child.wanted and child.wanted["metadata"]["name"]) == wanted


def test_routes_of_alerts_beyond_a_limit_are_not_wanted_and_the_limit_is_named() -> None:
    receiver = {"pagerduty": {"routingKeySecretRef": {"name": "s", "key": "k"}}}
    asks = read(service(monitoring={"alerting": {"receiver": receiver}}))

    def routes(*allowed: str) -> OptionalChild:
        config = CONFIG.model_copy(update={"limits": Limits(alerting=allowed)})
        return one("AlertmanagerConfig", observe(asks, children(), config), config)

    assert routes("pagerduty").wanted is not None
    assert not routes("pagerduty").refusal
    assert routes("slack").wanted is None
    assert "limits.alerting" in routes("slack").refusal
