"""The ways in which clusters lay out Prometheus and Alertmanager, and who selects what is ours there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from modelservice_operator import names
from modelservice_operator.monitoring.collectors import Collectors, facts, missing

Body = dict[str, Any]

OWN = names.service_labels("m")
MONITOR, RULE, ROUTES = "ServiceMonitor", "PrometheusRule", "AlertmanagerConfig"
RELEASE = {"release": "kube-prometheus-stack"}


def collector(kind: str, name: str = "k8s", namespace: str = "monitoring", **spec: object) -> Body:
    """A Prometheus or Alertmanager object as the API server has it."""
    return {"kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": {"replicas": 2} | spec}


def labelled(**labels: str) -> Body:
    return {"matchLabels": labels}


KUBE_PROMETHEUS_STACK = (
    collector(
        "Prometheus",
        serviceMonitorSelector=labelled(**RELEASE),
        serviceMonitorNamespaceSelector={},
        ruleSelector=labelled(**RELEASE),
        ruleNamespaceSelector={},
    ),
    collector("Alertmanager", alertmanagerConfigSelector={}, alertmanagerConfigNamespaceSelector={}),
)
KUBE_PROMETHEUS = (
    collector(
        "Prometheus",
        serviceMonitorSelector={},
        serviceMonitorNamespaceSelector={},
        ruleSelector={},
        ruleNamespaceSelector={},
    ),
    collector("Alertmanager", "main"),
)
OPENSHIFT = (
    collector(
        "Prometheus",
        namespace="openshift-monitoring",
        serviceMonitorSelector={},
        serviceMonitorNamespaceSelector={"matchLabels": {"openshift.io/cluster-monitoring": "true"}},
    ),
    collector(
        "Prometheus",
        "user-workload",
        "openshift-user-workload-monitoring",
        serviceMonitorSelector={},
        serviceMonitorNamespaceSelector={
            "matchExpressions": [
                {"key": "openshift.io/cluster-monitoring", "operator": "NotIn", "values": ["true"]},
                {"key": "openshift.io/user-monitoring", "operator": "NotIn", "values": ["false"]},
            ]
        },
    ),
)
OLD_RULES = collector(
    "Prometheus", ruleSelector=labelled(prometheus="k8s", role="alert-rules"), ruleNamespaceSelector={}
)
AGENT = collector(
    "PrometheusAgent", "agent", serviceMonitorSelector=labelled(scrape="yes"), serviceMonitorNamespaceSelector={}
)
RULER = collector("ThanosRuler", "ruler", ruleSelector=labelled(ruler="yes"), ruleNamespaceSelector={})
BARE = collector("Prometheus", serviceMonitorSelector=labelled(team="frontend"))
TEAMS = tuple(
    collector("Prometheus", team, serviceMonitorSelector=labelled(team=team), serviceMonitorNamespaceSelector={})
    for team in ("blue", "green")
)
PAIR = tuple(
    collector("Prometheus", name, serviceMonitorSelector=labelled(**RELEASE), serviceMonitorNamespaceSelector={})
    for name in ("a", "b")
)
BY_NAMESPACE = collector(
    "Prometheus", serviceMonitorSelector={}, serviceMonitorNamespaceSelector=labelled(monitored="true")
)
BY_NAME = collector(
    "Prometheus",
    serviceMonitorSelector={},
    serviceMonitorNamespaceSelector={
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]
    },
)
FUSSY = collector(
    "Prometheus",
    serviceMonitorNamespaceSelector={},
    serviceMonitorSelector={
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["gold", "silver"]},
            {"key": "owner", "operator": "Exists"},
            {"key": "ignore", "operator": "DoesNotExist"},
        ]
    },
)
NOT_OURS = collector(
    "Prometheus",
    serviceMonitorNamespaceSelector={},
    serviceMonitorSelector={
        "matchExpressions": [{"key": names.MANAGED_BY, "operator": "NotIn", "values": [names.MANAGER]}]
    },
)


@dataclass(frozen=True)
class Layout:
    """A cluster, and what is to be said of an object of ours in namespace `ml` of it."""

    objects: tuple[Body, ...]
    kind: str = MONITOR
    around: dict[str, str] = field(default_factory=dict)  # labels of the namespace
    given: dict[str, str] = field(default_factory=dict)  # labels that the administrator gave to ours
    lacks: dict[str, str] = field(default_factory=dict)  # the labels that it would get by itself
    selected_by: tuple[str, ...] = ()  # as it is
    because: tuple[str, ...] = ()  # what is said of the others


OF_K8S = "Prometheus monitoring/k8s"
LAYOUTS = {
    "kube-prometheus-stack, a monitor": Layout(
        KUBE_PROMETHEUS_STACK, lacks=RELEASE, because=("wants the label release: kube-prometheus-stack on it",)
    ),
    "kube-prometheus-stack, a rule": Layout(
        KUBE_PROMETHEUS_STACK, RULE, lacks=RELEASE, because=("wants the label release: kube-prometheus-stack on it",)
    ),
    "kube-prometheus-stack, routes": Layout(
        KUBE_PROMETHEUS_STACK, ROUTES, selected_by=("Alertmanager monitoring/k8s",)
    ),
    "kube-prometheus-stack, with the label": Layout(KUBE_PROMETHEUS_STACK, given=RELEASE, selected_by=(OF_K8S,)),
    "kube-prometheus-stack, with another release's label": Layout(
        KUBE_PROMETHEUS_STACK,
        given={"release": "old"},
        because=("shuts it out with spec.serviceMonitorSelector; change that",),
    ),
    "kube-prometheus, a monitor": Layout(KUBE_PROMETHEUS, selected_by=(OF_K8S,)),
    "kube-prometheus, routes": Layout(
        KUBE_PROMETHEUS, ROUTES, because=("selects no AlertmanagerConfig; give it spec.alertmanagerConfigSelector",)
    ),
    "OpenShift, a user's namespace": Layout(
        OPENSHIFT,
        selected_by=("Prometheus openshift-user-workload-monitoring/user-workload",),
        because=("does not look into namespace ml; label namespace ml openshift.io/cluster-monitoring: true",),
    ),
    "OpenShift, a user's namespace that opted out": Layout(
        OPENSHIFT,
        around={"openshift.io/user-monitoring": "false"},
        because=(
            "does not look into namespace ml; label namespace ml openshift.io/cluster-monitoring: true",
            "does not look into namespace ml; change spec.serviceMonitorNamespaceSelector",
        ),
    ),
    "rules by two labels": Layout(
        (OLD_RULES,),
        RULE,
        lacks={"prometheus": "k8s", "role": "alert-rules"},
        because=("wants the label prometheus: k8s, role: alert-rules on it",),
    ),
    "rules by two labels, a monitor": Layout(
        (OLD_RULES,), because=("selects no ServiceMonitor; give it spec.serviceMonitorSelector",)
    ),
    "an agent": Layout((AGENT,), lacks={"scrape": "yes"}, because=("wants the label scrape: yes on it",)),
    "an agent evaluates no rules": Layout((AGENT,), RULE),
    "a ruler beside a Prometheus that takes all": Layout(
        (*KUBE_PROMETHEUS, RULER), RULE, selected_by=(OF_K8S,), because=("wants the label ruler: yes on it",)
    ),
    "another namespace's own": Layout(
        (BARE,), because=("looks into its own namespace only; give it spec.serviceMonitorNamespaceSelector",)
    ),
    "this namespace's own": Layout(
        (collector("Prometheus", namespace="ml", serviceMonitorSelector=labelled(team="frontend")),),
        lacks={"team": "frontend"},
        because=("wants the label team: frontend on it",),
    ),
    "one for each team": Layout(
        TEAMS, because=("wants the label team: blue on it", "wants the label team: green on it")
    ),
    "one for each team, chosen": Layout(
        TEAMS,
        given={"team": "green"},
        selected_by=("Prometheus monitoring/green",),
        because=("shuts it out with spec.serviceMonitorSelector; change that",),
    ),
    "a pair": Layout(PAIR, lacks=RELEASE, because=("wants the label release: kube-prometheus-stack on it",) * 2),
    "by the namespace's label": Layout(
        (BY_NAMESPACE,), because=("does not look into namespace ml; label namespace ml monitored: true",)
    ),
    "by the namespace's label, which it has": Layout(
        (BY_NAMESPACE,), around={"monitored": "true"}, selected_by=(OF_K8S,)
    ),
    "by the namespace's name": Layout(
        (BY_NAME,), because=("does not look into namespace ml; change spec.serviceMonitorNamespaceSelector",)
    ),
    "by expressions": Layout(
        (FUSSY,), lacks={"tier": "gold", "owner": "true"}, because=("wants the label owner: true, tier: gold on it",)
    ),
    "by expressions that leave it out": Layout(
        (NOT_OURS,), because=("shuts it out with spec.serviceMonitorSelector; change that",)
    ),
    "nobody": Layout(()),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_who_selects_ours_and_what_it_lacks(layout: Layout) -> None:
    collectors = Collectors("ml", layout.around, tuple(map(facts, layout.objects)))
    labels = OWN | layout.given
    verdicts = collectors.verdicts(layout.kind, labels)
    assert tuple(each.collector for each in verdicts if each.selects) == layout.selected_by
    assert tuple(each.because for each in verdicts if not each.selects) == layout.because
    lacks = collectors.labels(layout.kind, labels)
    assert lacks == layout.lacks
    if lacks:
        assert all(each.selects for each in collectors.verdicts(layout.kind, labels | dict(lacks)))


def test_only_what_is_selected_by_is_remembered() -> None:
    prometheus = collector("Prometheus", serviceMonitorSelector={}, podMonitorSelector={}, alerting={"x": 1})
    one = facts(prometheus | {"status": {"shards": 1}})
    assert one == facts(prometheus | {"status": {"shards": 2}})
    assert one["spec"] == {"serviceMonitorSelector": {}}


@pytest.mark.parametrize(
    ("selector", "labels", "lacking"),
    [
        ({}, {}, {}),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, {}),
        ({"matchLabels": {"a": "1", "b": "2"}}, {"a": "1"}, {"b": "2"}),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, None),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, {}),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "3"}, None),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, {}),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, None),
        (
            {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]},
            {},
            None,
        ),
    ],
)
def test_the_labels_that_a_selector_waits_for(selector: Body, labels: Body, lacking: Body | None) -> None:
    assert missing(selector, labels) == lacking
