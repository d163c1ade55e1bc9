"""What the operator makes of ModelServices, without a cluster. No I/O.

These are the children of a service that has come to rest: its only revision has all its pods and all the traffic. What
only a cluster knows is left out: the owner and the marks of the installation, the verdict on the revision, and the pin
of a model whose digest nobody gave.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import yaml

from modelservice_operator.api import API_VERSION, KIND
from modelservice_operator.api.crd import WithoutAnchors
from modelservice_operator.autoscalers import autoscalers
from modelservice_operator.monitoring.collectors import Collectors
from modelservice_operator.observe import Children, Seen, observe, read
from modelservice_operator.optional import links_of, optional_children
from modelservice_operator.render import children as render
from modelservice_operator.render.disruption_budget import disruption_budget
from modelservice_operator.render.network_policy import network_policy
from modelservice_operator.render.pod import speaks_tls
from modelservice_operator.render.scrape_config import scrape_config
from modelservice_operator.render.service_monitor import service_monitor
from modelservice_operator.slo import rule_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelservice_operator.config import Config

Body = dict[str, Any]

_NO_CHILDREN = Children(**{each.name: {} for each in fields(Children)})


class NotRenderedError(ValueError):
    """A document cannot be rendered; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document of a file."""

    where: str
    body: Body

    @property
    def kind(self) -> str:
        """What it says it is."""
        return str(self.body.get("kind"))

    @property
    def is_ours(self) -> bool:
        """Whether it is a ModelService."""
        return self.kind == KIND


def documents(text: str, source: str) -> Iterator[Found]:
    """Return all objects in a YAML text, those in lists too; `source` names it in what is said."""
    try:
        for number, document in enumerate(yaml.load_all(text, Loader=yaml.CSafeLoader), start=1):
            where = f"{source}, document {number}"
            if isinstance(document, dict):
                items = document["items"] if document.get("kind") == "List" else [document]
                yield from (Found(where, item) for item in items)
            elif document is not None:
                raise NotRenderedError(f"{where}: it is no object of Kubernetes.")
    except yaml.YAMLError as error:
        raise NotRenderedError(f"{source} is no YAML: {error}") from error


def seen(found: Found, config: Config, namespace: str) -> Seen:
    """See a ModelService as the operator does for the first time; `namespace` is for one that names none."""
    body, metadata = found.body, found.body.get("metadata") or {}
    if not metadata.get("name"):
        raise NotRenderedError(f"{found.where}: metadata.name is required.")
    if body.get("apiVersion") != API_VERSION:
        raise NotRenderedError(f"{found.where}: apiVersion must be {API_VERSION} (found {body.get('apiVersion')!r}).")
    service = body | {"metadata": {"namespace": namespace} | metadata}
    first = observe(read(service), _NO_CHILDREN, config)
    if first.problem is not None:
        raise NotRenderedError(f"{found.where}: {KIND} {first.name}: {first.problem.message}")
    return first


def children(of: Seen, config: Config) -> list[Body]:
    """Return the manifests of all children."""
    spec, entry = of.spec, of.desired
    assert spec is not None  # noqa: S101 - there was no problem
    assert entry is not None  # noqa: S101 - neither
    place, replicas = (of.namespace, of.name), of.situation.replicas
    https = speaks_tls(entry.template)
    policy = network_policy(*place, spec, [entry], config.monitoring.namespaces)
    optional = optional_children(of, config, Collectors(of.namespace), lambda *_: "")
    scaling = autoscalers(of, config, lambda *_: "")
    return [
        render.controller_revision(*place, entry, {}),
        render.deployment(*place, entry, replicas, replicas),
        render.service(*place, spec, spec.runtime.port, (entry.name,), https=https),
        render.metrics_service(*place, spec, annotated=config.monitoring.annotations),
        disruption_budget(*place, replicas, (entry.name,)),
        *([policy] if policy is not None else []),
        *(child.wanted for child in (*optional, *scaling) if child.wanted is not None),
    ]


def scrape_configs(services: Iterable[Seen]) -> Body:
    """Return the configuration by which a plain Prometheus scrapes these services."""
    monitors = (service_monitor(of.namespace, of.name, of.spec, {}) for of in services if of.spec is not None)
    return {"scrape_configs": [scrape_config(monitor) for monitor in monitors if monitor is not None]}


def rule_file(services: Iterable[Seen], config: Config) -> Body:
    """Return the rules by which a plain Prometheus watches what these services promise."""
    promises = (rule_groups(of.namespace, of.name, of.spec, links_of(config)) for of in services if of.spec is not None)
    return {"groups": [group for groups in promises for group in groups]}


def as_yaml(bodies: Iterable[Body]) -> str:
    """Return YAML documents for people and `kubectl`."""
    return str(yaml.dump_all(bodies, Dumper=WithoutAnchors, sort_keys=False, explicit_start=True, width=110))
