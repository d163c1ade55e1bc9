"""Which Prometheus and Alertmanager objects of the cluster select ours, and what ours lack to be selected.

The rules are those of the Prometheus Operator: an absent selector selects nothing, an empty one everything; an absent
selector of namespaces means the object's own namespace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Body = dict[str, Any]

# Who selects what, and what the fields of its spec are called that say so.
_SELECTORS = {
    "Prometheus": {"ServiceMonitor": "serviceMonitor", "PrometheusRule": "rule"},
    "PrometheusAgent": {"ServiceMonitor": "serviceMonitor"},
    "ThanosRuler": {"PrometheusRule": "rule"},
    "Alertmanager": {"AlertmanagerConfig": "alertmanagerConfig"},
}
_NAMESPACE_NAME = "kubernetes.io/metadata.name"  # a label that the API server gives to every namespace


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one Prometheus or Alertmanager object thinks of one object of ours."""

    collector: str
    """Kind, namespace and name."""
    lacks: Mapping[str, str] | None
    """The labels without which it does not select the object; None: no label would do."""
    because: str = ""
    """Why it does not select the object, and what to do about it."""

    @property
    def selects(self) -> bool:
        """Whether it selects the object as it is."""
        return not self.because


@dataclass(frozen=True, slots=True)
class Collectors:
    """Those of a cluster, as somebody in one namespace meets them."""

    namespace: str
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    objects: tuple[Body, ...] = ()
    """As `facts` leaves them."""
    unseen: str = ""
    """Why there may be others."""

    def labels(self, kind: str, own: Mapping[str, str]) -> Mapping[str, str]:
        """Return the labels that an object of ours with its `own` needs to be selected.

        None where somebody selects it already, and none where several want different ones: by such labels an
        administrator decides who collects what, which is not ours to guess.
        """
        verdicts = self.verdicts(kind, own)
        wanted = [each.lacks for each in verdicts if each.lacks]
        if any(each.selects for each in verdicts) or any(each != wanted[0] for each in wanted):
            return {}
        return wanted[0] if wanted else {}

    def verdicts(self, kind: str, labels: Mapping[str, str]) -> list[Verdict]:
        """Return what everybody who could select objects of the kind thinks of one with these labels."""
        return [
            self._verdict(each, prefix, kind, labels)
            for each in self.objects
            if (prefix := _SELECTORS[each["kind"]].get(kind))
        ]

    def _verdict(self, collector: Body, prefix: str, kind: str, labels: Mapping[str, str]) -> Verdict:
        name = f"{collector['kind']} {collector['namespace']}/{collector['name']}"
        spec = collector["spec"]
        selector, namespaces = f"{prefix}Selector", f"{prefix}NamespaceSelector"
        if spec.get(selector) is None:
            return Verdict(name, None, f"selects no {kind}; give it spec.{selector}")
        if spec.get(namespaces) is None and collector["namespace"] != self.namespace:
            return Verdict(name, None, f"looks into its own namespace only; give it spec.{namespaces}")
        around = {_NAMESPACE_NAME: self.namespace} | dict(self.namespace_labels)
        if (away := missing(spec.get(namespaces) or {}, around)) != {}:
            remedy = f"label namespace {self.namespace} {written(away)}" if away else f"change spec.{namespaces}"
            return Verdict(name, None, f"does not look into namespace {self.namespace}; {remedy}")
        lacks = missing(spec[selector], labels)
        if lacks is None:
            return Verdict(name, None, f"shuts it out with spec.{selector}; change that")
        return Verdict(name, lacks, f"wants the label {written(lacks)} on it" if lacks else "")


def facts(body: Body) -> Body:
    """Return of a Prometheus or Alertmanager object what it selects; nothing else of it is of interest."""
    prefixes = _SELECTORS[body["kind"]].values()
    wanted = {f"{prefix}{what}" for prefix in prefixes for what in ("Selector", "NamespaceSelector")}
    return {
        "kind": body["kind"],
        "namespace": body["metadata"]["namespace"],
        "name": body["metadata"]["name"],
        "spec": {name: value for name, value in body["spec"].items() if name in wanted},
    }


def missing(selector: Mapping[str, Any], labels: Mapping[str, str]) -> Mapping[str, str] | None:
    """Return the labels that have to be added until a label selector matches; None where adding none helps."""
    lacking: dict[str, str] = dict((selector.get("matchLabels") or {}).items() - labels.items())
    if lacking.keys() & labels.keys():
        return None  # there with another value
    for each in selector.get("matchExpressions") or ():
        key, operator, values = each["key"], each["operator"], each.get("values") or ()
        value = lacking.get(key, labels.get(key))
        if operator in {"In", "Exists"} and value is None:
            lacking[key] = values[0] if values else "true"
        elif (
            (operator == "In" and value not in values)
            or (operator == "NotIn" and value in values)
            or (operator == "DoesNotExist" and value is not None)
        ):
            return None
    return lacking


def written(labels: Mapping[str, str]) -> str:
    """Write labels as people do."""
    return ", ".join(f"{key}: {value}" for key, value in sorted(labels.items()))
