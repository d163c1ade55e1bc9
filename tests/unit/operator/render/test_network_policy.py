from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelservice_operator.render.network_policy import network_policy
from modelservice_operator.render.pod import pod_template
from unit.operator.makers import CONFIG, entry, parsed
from unit.operator.render.test_children import LABELS

if TYPE_CHECKING:
    from modelservice_operator.rollout.situation import Entry

Body = dict[str, Any]

CUSTOM = {"name": "Custom", "image": "x"}
DNS = [{"port": port, "protocol": protocol} for port in (53, 5353) for protocol in ("TCP", "UDP")]


def tcp(*ports: int) -> list[Body]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def revision(name: str = "m-1", **spec: object) -> Entry:
    """A revision as the ledger has it, of a service with this spec."""
    wish = parsed(**spec)
    shape = {"model": {"uri": wish.model.uri}}
    return entry(name, spec=shape, template=pod_template("m", name, wish, CONFIG))


def policy(*scrapers: str, more: tuple[Entry, ...] = (), settings: Body | None = None, **spec: object) -> Body | None:
    """The policy of a service whose revision has this spec; `settings` are those of its network policy."""
    wish = parsed(**spec, security={"networkPolicy": settings or {}})
    return network_policy("ml", "m", wish, [revision(**spec), *more], scrapers)


def spec_of(body: Body | None) -> Body:
    assert body is not None
    found: Body = body["spec"]
    return found


def test_a_policy_in_full_keeps_nobody_from_what_the_pods_declare() -> None:
    assert policy() == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "m", "namespace": "ml", "labels": LABELS},
        "spec": {
            "podSelector": {"matchLabels": {"modelservice.dev/name": "m"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": tcp(8080)}, {"ports": tcp(9090)}],
        },
    }


def test_who_asks_is_narrowed_and_who_scrapes_is_named() -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "web"}}}, {"namespaceSelector": {}}]
    told = spec_of(policy("monitoring", "modelservice-system", settings={"allowFrom": peers}))
    names = ["modelservice-system", "monitoring"]
    labels = [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]
    assert told["ingress"] == [
        {"ports": tcp(8080), "from": peers},
        {"ports": tcp(9090), "from": [{"namespaceSelector": {"matchExpressions": labels}}]},
    ]


def test_the_ports_of_all_revisions_and_of_the_user_s_own_containers_are_open() -> None:
    proxy = {
        "name": "proxy",
        "image": "p",
        "ports": [{"containerPort": 4180}, {"containerPort": 53, "protocol": "UDP"}],
    }
    told = spec_of(
        policy(more=(revision("m-2", runtime={"port": 8000}, podTemplate={"spec": {"containers": [proxy]}}),))
    )
    asked, scraped = told["ingress"]
    assert asked["ports"] == [{"port": 53, "protocol": "UDP"}, *tcp(4180, 8000, 8080)]
    assert scraped["ports"] == tcp(9090)


@pytest.mark.parametrize(
    ("runtime", "asked", "scraped"),
    [
        (CUSTOM, [8080], []),
        (CUSTOM | {"metricsPath": "/m"}, [8080], [8080]),
        (CUSTOM | {"metricsPath": "/m", "metricsPort": 9000}, [8080], [9000]),
    ],
)
def test_a_custom_server_is_scraped_where_it_says(runtime: Body, asked: list[int], scraped: list[int]) -> None:
    ports = [rule["ports"] for rule in spec_of(policy("monitoring", runtime=runtime))["ingress"]]
    assert ports == [tcp(*each) for each in (asked, scraped) if each]


@pytest.mark.parametrize(
    ("uri", "ports"),
    [
        ("pvc://models/m", []),
        ("file:///models/m", []),
        ("s3://models/m", [443]),
        ("hf://org/m@v1.2", [443]),
        ("oci://registry/m:1", [443]),
        ("oci://registry:5000/m:1", [443, 5000]),
        ("https://example.com/m.tar", [443]),
        ("https://example.com:8443/m.tar", [443, 8443]),
    ],
)
def test_restricted_pods_reach_dns_and_what_the_model_is_fetched_from(uri: str, ports: list[int]) -> None:
    told = spec_of(policy(settings={"egress": "Restricted"}, model={"uri": uri}))
    assert told["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = told["egress"]
    assert rule.keys() == {"ports"}
    assert sorted(rule["ports"], key=str) == sorted([*DNS, *tcp(*ports)], key=str)


def test_a_service_may_have_none() -> None:
    assert policy(settings={"enabled": False}) is None
