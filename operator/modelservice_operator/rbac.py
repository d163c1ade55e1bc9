"""What the operator needs of RBAC, in one table: the chart grants exactly this, and `doctor` asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from modelservice_operator import names
from modelservice_operator.kube import resources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelservice_operator.kube.resources import Resource

_READ = ("get", "list", "watch")
# An apply that creates needs both `create` and `patch`. Some clusters let only those give an object an owner who may
# delete it, and one that is handed over gets an owner.
_KEEP = (*_READ, "create", "patch", "delete")


class Where(Enum):
    """The objects that a rule is about."""

    MODELS = "in the namespaces of the models"
    CLUSTER = "in the cluster"
    OWN = "in the operator's own namespace"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the chart's roles, and what it is for."""

    why: str
    resources: tuple[Resource, ...]
    verbs: tuple[str, ...]
    where: Where = Where.MODELS
    subresource: str = ""
    name: str = ""
    """The one object that it is about; empty: all."""

    def rights(self) -> Iterator[Right]:
        """Take the rule apart."""
        for resource in self.resources:
            yield from (Right(verb, resource, self) for verb in self.verbs)


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one kind, which a rule grants."""

    verb: str
    resource: Resource
    rule: Rule

    def __str__(self) -> str:
        """Name it as people ask for it: `patch modelservices.modelservice.dev/status`."""
        return f"{self.verb} {self.object}"

    @property
    def object(self) -> str:
        """What may be done with: `modelservices.modelservice.dev/status`, `leases.coordination.k8s.io/NAME`."""
        return "/".join(part for part in (str(self.resource), self.rule.subresource, self.rule.name) if part)

    @property
    def plural(self) -> str:
        """The kind and, after a slash, the subresource, as a role names them."""
        kind = self.resource.plural
        return f"{kind}/{self.rule.subresource}" if self.rule.subresource else kind


def rules(installation: str, *, in_cluster: bool = True, logs: bool = True) -> tuple[Rule, ...]:
    """Return all rules of an installation of the whole cluster, or of some namespaces, in the order of the chart.

    `logs`: whether it may read those of containers that failed.
    """
    models = (resources.MODEL_SERVICES,)
    found = (
        Rule("What is wanted: read, never written.", models, _READ),
        Rule("What is: conditions, revisions, address.", models, ("patch",), subresource="status"),
        Rule(
            "An absent spec.replicas means the number that runs; it is written down through /scale, so that "
            "autoscalers can read it.",
            models,
            ("patch",),
            subresource="scale",
        ),
        Rule(
            "Children name the ModelService as the owner that waits for them; some clusters ask for this right before "
            "they allow that.",
            models,
            ("update",),
            subresource="finalizers",
        ),
        Rule(
            "The ledger of revisions and one Deployment for each.",
            (resources.CONTROLLER_REVISIONS, resources.DEPLOYMENTS),
            _KEEP,
        ),
        Rule("The ConfigMap that pins the digest of a model.", (resources.CONFIG_MAPS,), _KEEP),
        Rule(
            "The Services in front of the pods; deleted are those of evaluations, and taking over asks for the right.",
            (resources.SERVICES,),
            _KEEP,
        ),
        Rule(
            "How many of the pods that serve must stay when a node is emptied; to delete, as for Services.",
            (resources.POD_DISRUPTION_BUDGETS,),
            _KEEP,
        ),
        Rule(
            "Who may connect to the pods; removed where spec.security.networkPolicy.enabled is false.",
            (resources.NETWORK_POLICIES,),
            _KEEP,
        ),
        Rule(
            "Why a pod does not come up, in the words of the scheduler and the kubelet.",
            (resources.PODS,),
            ("list", "watch"),
        ),
        Rule(
            "What a container has written last, as evidence of why its revision was given up.",
            (resources.PODS,),
            ("get",),
            subresource="log",
        ),
        Rule("Who evaluates a candidate before it gets traffic.", (resources.JOBS,), _KEEP),
        Rule(
            "Why the pod of an evaluation is not made, which Jobs tell in Events alone.", (resources.EVENTS,), ("list",)
        ),
        Rule("What the operator did, for `kubectl describe`.", (resources.EVENTS,), ("create", "patch")),
        Rule(
            "Where the Prometheus Operator is installed: a ServiceMonitor of each model, a PrometheusRule of each with "
            "objectives.",
            (resources.SERVICE_MONITORS, resources.PROMETHEUS_RULES),
            _KEEP,
        ),
        Rule(
            "And an AlertmanagerConfig for each that says who is told of its alerts.",
            (resources.ALERTMANAGER_CONFIGS,),
            _KEEP,
        ),
        Rule(
            "Who changes the number of replicas where spec.autoscaling.engine is HPA; removed where it is not.",
            (resources.HORIZONTAL_POD_AUTOSCALERS,),
            _KEEP,
        ),
        Rule(
            "And where it is KEDA, once KEDA is installed.",
            (resources.SCALED_OBJECTS,),
            _KEEP,
        ),
        Rule(
            "Who works, here and in another installation that keeps a model: its Lease is named on the model's "
            "children.",
            (resources.LEASES,),
            ("get",),
        ),
        Rule(
            "Which labels and namespaces the cluster's Prometheus and Alertmanager objects select, so that ours get "
            "the labels.",
            resources.COLLECTORS,
            ("list", "watch"),
            Where.CLUSTER,
        ),
        Rule("The labels by which they select namespaces.", (resources.NAMESPACES,), ("list", "watch"), Where.CLUSTER),
        Rule(
            "To notice when the definition of ModelService, or of an optional kind such as ServiceMonitor, appears or "
            "goes.",
            (resources.CUSTOM_RESOURCE_DEFINITIONS,),
            ("list", "watch"),
            Where.CLUSTER,
        ),
        Rule(
            "Of several operators one works: the one that holds this Lease.",
            (resources.LEASES,),
            ("update",) if in_cluster else ("get", "update"),
            Where.OWN,
            name=names.lease(installation),
        ),
        Rule(
            "The first one makes it; a right to create cannot be limited to a name.",
            (resources.LEASES,),
            ("create",),
            Where.OWN,
        ),
    )
    return tuple(
        each
        for each in found
        if (in_cluster or each.where is not Where.CLUSTER) and (logs or each.subresource != "log")
    )
