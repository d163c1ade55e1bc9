from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelservice_operator.kube.resources import ALERTMANAGER_CONFIGS, SERVICE_MONITORS, Resource
from modelservice_operator.monitoring.collectors import Collectors, facts
from modelservice_operator.monitoring.monitored import monitored
from modelservice_operator.optional import OptionalChild

Body = dict[str, Any]

BY_RELEASE = {"serviceMonitorSelector": {"matchLabels": {"release": "stack"}}, "serviceMonitorNamespaceSelector": {}}
NO_API = "the cluster does not serve it"


def collectors(unseen: str = "", **specs: Body) -> Collectors:
    """Prometheus objects by name, and an Alertmanager that takes all."""
    prometheuses = [
        {"kind": "Prometheus", "metadata": {"namespace": "monitoring", "name": name}, "spec": spec}
        for name, spec in specs.items()
    ]
    alertmanager = {
        "kind": "Alertmanager",
        "metadata": {"namespace": "monitoring", "name": "main"},
        "spec": {"alertmanagerConfigSelector": {}, "alertmanagerConfigNamespaceSelector": {}},
    }
    return Collectors("ml", {}, tuple(map(facts, [*prometheuses, alertmanager])), unseen)


def child(
    kind: Resource = SERVICE_MONITORS, *, labels: Body | None = None, status: Body | None = None
) -> OptionalChild:
    """One child as the API server has it."""
    body = {"metadata": {"name": "m-it", "generation": 2, "labels": labels or {}}, "status": status or {}}
    return OptionalChild(kind, body, {"m-it": body}, "")


def absent(why_not: str = "", kind: Resource = SERVICE_MONITORS) -> OptionalChild:
    """One that is wanted and not there."""
    return replace(child(kind), live={}, why_not=why_not)


def test_what_is_selected_is_monitored() -> None:
    around = collectors(k8s=BY_RELEASE)
    routes = child(ALERTMANAGER_CONFIGS)
    status, reason, _ = monitored([child(labels={"release": "stack"}), routes], around)
    assert (status, reason) == ("True", "Selected")


def test_what_nobody_selects_is_told_with_the_very_label() -> None:
    status, reason, message = monitored([child(), child(ALERTMANAGER_CONFIGS)], collectors(k8s=BY_RELEASE))
    assert (status, reason) == ("False", "NotSelected")
    assert message == (
        "Nobody selects ServiceMonitor m-it. Prometheus monitoring/k8s wants the label release: stack on it. Labels of "
        "every ServiceMonitor are set in monitoring.labels (values.yaml)."
    )


def test_of_many_who_want_something_else_some_are_named() -> None:
    around = collectors(**{f"p{number}": {"serviceMonitorSelector": {}} for number in range(5)})
    _, _, message = monitored([child()], around)
    assert message.count("looks into its own namespace only") == 3
    assert message.endswith("; and 2 more.")


def test_a_cluster_without_prometheus_is_told() -> None:
    status, reason, message = monitored([child()], collectors())
    assert (status, reason) == ("False", "NotSelected")
    assert message.endswith("The cluster has no object of the Prometheus Operator that could; make one.")


def test_what_cannot_be_known_is_unknown_and_never_false() -> None:
    assert monitored([absent(NO_API)], collectors())[:2] == ("Unknown", "NotMade")
    assert monitored([absent()], collectors())[:2] == ("Unknown", "NotMade")
    assert monitored([child()], collectors("it is forbidden"))[:2] == ("Unknown", "SelectionUnknown")


def test_what_is_wrong_is_told_before_what_is_not_known() -> None:
    children = [absent(NO_API, ALERTMANAGER_CONFIGS), child()]
    assert monitored(children, collectors(k8s=BY_RELEASE))[:2] == ("False", "NotSelected")


def test_who_is_seen_to_select_it_counts_whatever_is_not_seen() -> None:
    around = collectors("it is forbidden", k8s=BY_RELEASE)
    assert monitored([child(labels={"release": "stack"})], around)[0] == "True"


def test_a_refusal_of_the_prometheus_operator_is_told_in_its_words() -> None:
    def bound(status: str, generation: int) -> Body:
        said = {"type": "Accepted", "status": status, "observedGeneration": generation, "message": "bad regex"}
        return {"bindings": [{"name": "k8s", "conditions": [said]}]}

    around = collectors(k8s=BY_RELEASE)
    labels = {"release": "stack"}
    refused = monitored([child(labels=labels, status=bound("False", 2))], around)
    assert refused == ("False", "NotAccepted", "The Prometheus Operator does not accept ServiceMonitor m-it: bad regex")
    assert monitored([child(labels=labels, status=bound("True", 2))], around)[0] == "True"
    assert monitored([child(labels=labels, status=bound("False", 1))], around)[0] == "True"  # of an older version


def test_alerts_that_could_never_fire_are_told_whatever_else_there_is_to_tell() -> None:
    no_page = "availability at 90%: no critical alert over 1h, which would need 144% of the requests to be bad"
    for around, reason in ((collectors(k8s=BY_RELEASE), "Selected"), (collectors(), "NotSelected")):
        found = monitored([child(labels={"release": "stack"})], around, [no_page])
        assert found[1] == reason
        assert found[2].endswith(f". Left out, as they could never fire: {no_page}.")


def test_what_the_service_is_not_to_have_matters_not() -> None:
    assert monitored([replace(child(), wanted=None)], collectors())[0] == "True"


def test_what_the_administrator_does_not_let_it_have_is_told() -> None:
    refused = replace(child(ALERTMANAGER_CONFIGS), wanted=None, refusal="Not this.")
    found = monitored([child(labels={"release": "stack"}), refused], collectors(k8s=BY_RELEASE))
    assert found == ("False", "NotAllowed", "Not this.")
