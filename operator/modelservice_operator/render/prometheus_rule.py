"""The PrometheusRule, by which a Prometheus of the Prometheus Operator watches what a service promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.render.children import child_metadata
from modelservice_operator.slo import rule_groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelservice_operator.api.types import ModelServiceSpec
    from modelservice_operator.slo import Links

Body = dict[str, Any]


def prometheus_rule(
    namespace: str, service: str, spec: ModelServiceSpec, labels: Mapping[str, str], links: Links
) -> Body | None:
    """Return it with `labels`, by which a Prometheus selects it; None for a service that promises nothing."""
    groups = rule_groups(namespace, service, spec, links)
    if not groups:
        return None
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": child_metadata(namespace, service, names.rules(service), labels),
        "spec": {"groups": groups},
    }
