"""The kinds of objects that the operator reads and writes, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]
"""An object as the API server speaks it: plain JSON."""


Name: TypeAlias = tuple[str, str]
"""Namespace (empty for what is in none) and name of an object."""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One kind of object: what a manifest calls it and what a URL calls it. Each kind is one value, itself alone."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    metadata_only: bool = False
    """Whether no more is asked for than the metadata of its objects."""

    @property
    def api_version(self) -> str:
        """What a manifest says under `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_path(self) -> str:
        """Where the server lists what it serves of this group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Give the path of the collection (of one namespace, or of all) or of one object."""
        path = self.group_path
        if namespace is not None and self.namespaced:
            path += f"/namespaces/{namespace}"
        path += f"/{self.plural}"
        if name is not None:
            path += f"/{name}"
        if subresource is not None:
            path += f"/{subresource}"
        return path

    def __str__(self) -> str:
        """Name the resource as `kubectl` does: `deployments.apps`, `services`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


MODEL_SERVICES = Resource("modelservice.dev", "v1alpha1", "ModelService", "modelservices")
ALERTMANAGER_CONFIGS = Resource("monitoring.coreos.com", "v1alpha1", "AlertmanagerConfig", "alertmanagerconfigs")
ALERTMANAGERS = Resource("monitoring.coreos.com", "v1", "Alertmanager", "alertmanagers")
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
CONTROLLER_REVISIONS = Resource("apps", "v1", "ControllerRevision", "controllerrevisions")
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    metadata_only=True,  # with their schemas, those of the Prometheus Operator alone are 4 MB
)
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments")
EVENTS = Resource("events.k8s.io", "v1", "Event", "events")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
JOBS = Resource("batch", "v1", "Job", "jobs")
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False, metadata_only=True)
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
PODS = Resource("", "v1", "Pod", "pods")
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
PROMETHEUS_AGENTS = Resource("monitoring.coreos.com", "v1alpha1", "PrometheusAgent", "prometheusagents")
PROMETHEUSES = Resource("monitoring.coreos.com", "v1", "Prometheus", "prometheuses")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
SELF_SUBJECT_ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)
SERVICES = Resource("", "v1", "Service", "services")
SERVICE_MONITORS = Resource("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")
PROMETHEUS_RULES = Resource("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules")
SUBJECT_ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
THANOS_RULERS = Resource("monitoring.coreos.com", "v1", "ThanosRuler", "thanosrulers")

COLLECTORS = (ALERTMANAGERS, PROMETHEUSES, PROMETHEUS_AGENTS, THANOS_RULERS)
"""Who selects monitors, rules and routes."""

_KNOWN = {
    (known.api_version, known.kind): known
    for known in (
        *(MODEL_SERVICES, CONFIG_MAPS, CONTROLLER_REVISIONS, DEPLOYMENTS, PODS, SERVICES),
        *(JOBS, POD_DISRUPTION_BUDGETS, NETWORK_POLICIES),
        *(HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS),
        *(SERVICE_MONITORS, PROMETHEUS_RULES, ALERTMANAGER_CONFIGS),
    )
}


def resource_of(body: Body) -> Resource:
    """Tell which resource a manifest or an object is of."""
    return _KNOWN[body["apiVersion"], body["kind"]]


def name_of(body: Body) -> Name:
    """Name an object among those of its kind."""
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
