from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator import names
from modelservice_operator.render import children as render
from unit.operator.makers import DIGEST, TEMPLATE, entry, parsed, promoted

Body = dict[str, Any]

LABELS = {
    "modelservice.dev/name": "m",
    "app.kubernetes.io/managed-by": "modelservice-operator",
    "app.kubernetes.io/part-of": "modelservice",
}
CUSTOM = {"name": "Custom", "image": "x"}


def service(*traffic: str, port: int = 8080, **spec: object) -> Body:
    return render.service("ml", "m", parsed(**spec), port, traffic)


def metrics_service(**spec: object) -> Body:
    return render.metrics_service("ml", "m", parsed(**spec))


def test_a_line_of_the_ledger_in_full() -> None:
    line = promoted(promotion=2, spec={"model": {"uri": "file:///m"}})
    assert render.controller_revision("ml", "m", line, {"modelservice.dev/verdict": "Promoted"}) == {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": "m-1",
            "namespace": "ml",
            "labels": LABELS | {"modelservice.dev/revision": "m-1"},
            "annotations": {"modelservice.dev/verdict": "Promoted"},
        },
        "data": {"spec": {"model": {"uri": "file:///m"}}, "template": TEMPLATE},
        "revision": 2,
    }


def test_a_pin_in_full_which_nobody_can_edit() -> None:
    assert render.pin("ml", "m", "m-1", DIGEST) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m-1", "namespace": "ml", "labels": LABELS | {"modelservice.dev/revision": "m-1"}},
        "data": {"digest": DIGEST},
        "immutable": True,
    }


def test_a_deployment_in_full() -> None:
    assert render.deployment("ml", "m", entry(), 2, 3) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "m-1",
            "namespace": "ml",
            "labels": LABELS | {"modelservice.dev/revision": "m-1"},
            "annotations": {"modelservice.dev/promised-replicas": "3"},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"modelservice.dev/name": "m", "modelservice.dev/revision": "m-1"}},
            "template": TEMPLATE,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "minReadySeconds": 5,
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": 600,
        },
    }


@pytest.mark.parametrize(
    ("containers", "surge"),
    [
        ([{"name": "server", "resources": {"limits": {"memory": "1Gi"}}}], 1),
        ([{"name": "server", "resources": {"limits": {"nvidia.com/gpu": "1"}}}], 0),
        ([{"name": "server"}, {"name": "proxy", "resources": {"limits": {"example.com/nic": "1"}}}], 0),
    ],
)
def test_a_pod_with_devices_makes_room_before_its_successor_starts(containers: list[Body], surge: int) -> None:
    strategy = render.deployment("ml", "m", entry(template={"spec": {"containers": containers}}), 1, 1)
    assert strategy["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": 1 - surge}


def test_the_service_in_full() -> None:
    assert service("m-1", port=8000, service={"type": "NodePort", "annotations": {"a": "b"}}) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "m", "namespace": "ml", "labels": LABELS, "annotations": {"a": "b"}},
        "spec": {
            "type": "NodePort",
            "selector": {"modelservice.dev/name": "m", "modelservice.dev/revision": "m-1"},
            "ports": [{"name": "http", "port": 8000, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def test_the_port_of_a_service_need_not_have_a_name() -> None:
    (port,) = render.service("ml", "m", parsed(), 8080, ("m-1",), port_name="")["spec"]["ports"]
    assert port == {"port": 8080, "targetPort": "http", "protocol": "TCP"}


def test_a_service_of_servers_that_speak_tls_says_so() -> None:
    (port,) = render.service("ml", "m", parsed(), 8080, ("m-1",), https=True)["spec"]["ports"]
    (plain,) = service("m-1")["spec"]["ports"]
    assert port == plain | {"appProtocol": "https"}


@pytest.mark.parametrize(
    ("traffic", "selector"),
    [
        ((), {names.NAME: "m", names.REVISION: "none"}),
        (("m-1",), {names.NAME: "m", names.REVISION: "m-1"}),
        (("m-1", "m-2"), {names.NAME: "m"}),
    ],
)
def test_the_service_selects_no_revision_one_or_two(traffic: tuple[str, ...], selector: Body) -> None:
    assert service(*traffic)["spec"]["selector"] == selector


def test_the_metrics_service_in_full() -> None:
    assert metrics_service() == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "m-metrics",
            "namespace": "ml",
            "labels": LABELS | {"app.kubernetes.io/component": "metrics"},
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/path": "/metrics",
                "prometheus.io/port": "9090",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"modelservice.dev/name": "m"},
            "ports": [{"name": "metrics", "port": 9090, "targetPort": 9090, "protocol": "TCP"}],
        },
    }


def test_the_annotations_can_be_left_out() -> None:
    bare = render.metrics_service("ml", "m", parsed(), annotated=False)
    assert "annotations" not in bare["metadata"]
    assert bare["spec"] == metrics_service()["spec"]


def test_a_server_without_metrics_is_not_scraped() -> None:
    silent = metrics_service(runtime=CUSTOM)
    assert "annotations" not in silent["metadata"]
    assert silent["spec"]["ports"][0]["port"] == 8080


def test_a_custom_server_is_scraped_where_it_says() -> None:
    told = metrics_service(runtime={**CUSTOM, "metricsPath": "/prometheus", "metricsPort": 81})
    assert told["metadata"]["annotations"]["prometheus.io/path"] == "/prometheus"
    assert told["metadata"]["annotations"]["prometheus.io/port"] == "81"
    assert told["spec"]["ports"][0]["targetPort"] == 81


def test_names_of_45_characters_make_children_whose_names_and_labels_fit() -> None:
    name = "m" * 45
    revision = f"{name}-bcdfghjkmn"
    made = [
        render.service("ml", name, parsed(), 8080, (revision,)),
        render.metrics_service("ml", name, parsed()),
        render.deployment("ml", name, entry(revision), 1, 1),
        render.pin("ml", name, revision, DIGEST),
    ]
    for body in made:
        assert len(body["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in body["metadata"]["labels"].values())


def nothings(value: object, path: str = "") -> list[str]:
    """Where a manifest says null, or an empty map or list, which the API server would drop."""
    if isinstance(value, dict) and value:
        return [found for key, inner in value.items() for found in nothings(inner, f"{path}.{key}")]
    if isinstance(value, list) and value:
        return [found for inner in value for found in nothings(inner, path)]
    return [path] if value in (None, {}, []) else []


def test_no_child_says_nothing_anywhere() -> None:
    made = [service(), metrics_service(runtime=CUSTOM), render.deployment("ml", "m", entry(), 0, 0)]
    assert [nothings(body) for body in made] == [[], [], []]
