"""The NetworkPolicy: who may connect to the pods, and where they may connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelservice_operator import names
from modelservice_operator.api.types import Egress
from modelservice_operator.render.children import child_metadata
from modelservice_operator.render.pod import metrics_path, metrics_port

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from modelservice_operator.api.types import ModelServiceSpec
    from modelservice_operator.rollout.situation import Entry

Body = dict[str, Any]
_Port = tuple[int, str]

_TCP = "TCP"
# 5353 is where the DNS pods of OpenShift listen, and policies look at pods, not at Services.
_DNS: tuple[_Port, ...] = tuple((port, protocol) for port in (53, 5353) for protocol in (_TCP, "UDP"))
_HTTPS: _Port = (443, _TCP)


def network_policy(
    namespace: str, service: str, spec: ModelServiceSpec, revisions: Collection[Entry], scrapers: Sequence[str]
) -> Body | None:
    """Return it for all pods of the `revisions`; None: the service is to have none.

    `scrapers` are the namespaces from which metrics may be read, all if there are none. Its lists have no keys, so they
    are written in full, defaults included.
    """
    policy = spec.security.network_policy
    if not policy.enabled:
        return None
    metrics = {port for entry in revisions for name, port in _declared(entry) if name == names.METRICS_PORT}
    others = {port for entry in revisions for name, port in _declared(entry) if name != names.METRICS_PORT}
    if metrics_path(spec):
        metrics.add((metrics_port(spec), _TCP))
    allowed = [peer.model_dump(mode="json", by_alias=True, exclude_defaults=True) for peer in policy.allow_from]
    if allowed and spec.evaluation is not None:
        allowed.append({"podSelector": {"matchLabels": {names.EVALUATES: service}}})
    ingress = [_rule(others, "from", allowed)]
    if metrics:
        ingress.append(_rule(metrics, "from", [_namespaces(scrapers)] if scrapers else []))
    egress: Body = {}
    if policy.egress is Egress.RESTRICTED:
        sources = {port for entry in revisions for port in _source_ports(entry)}
        egress = {"egress": [_rule({*_DNS, *sources}, "to", [])]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(namespace, service, service, {}),
        "spec": {
            "podSelector": {"matchLabels": {names.NAME: service}},
            "policyTypes": ["Ingress", *(["Egress"] if egress else [])],
            "ingress": ingress,
            **egress,
        },
    }


def _rule(ports: Iterable[_Port], direction: str, peers: list[Body]) -> Body:
    return {
        "ports": [{"port": port, "protocol": protocol} for port, protocol in sorted(ports)],
        **({direction: peers} if peers else {}),
    }


def _namespaces(named: Sequence[str]) -> Body:
    label = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(named)}
    return {"namespaceSelector": {"matchExpressions": [label]}}


def _declared(entry: Entry) -> Iterator[tuple[str, _Port]]:
    """Give every port that the pods of a revision declare, those of the user's own containers too, by name."""
    pod = entry.template["spec"]
    for container in (*(pod.get("initContainers") or ()), *pod["containers"]):
        for port in container.get("ports") or ():
            yield port.get("name", ""), (port["containerPort"], port.get("protocol", _TCP))


def _source_ports(entry: Entry) -> Iterator[_Port]:
    """Give the ports of what the model is fetched from; it may send the fetch on to others, on the usual port."""
    source = urlsplit((entry.spec.get("model") or {}).get("uri", ""))
    if source.scheme not in {"", "file", "pvc"}:
        yield _HTTPS
        if source.scheme in {"https", "oci"} and source.port:
            yield source.port, _TCP
