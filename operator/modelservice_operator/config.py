"""The operator's own configuration: one typed YAML file, every key documented, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from modelservice_operator.api.rules import Block
from modelservice_operator.api.types import Trust

if TYPE_CHECKING:
    from pathlib import Path


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file, the key and what is expected."""


class AcceleratorClass(Block):
    """What `spec.accelerator.class` stands for, as the administrator defines it."""

    resource: str = ""
    """Extended resource that the device plugin advertises, such as nvidia.com/gpu; empty for a class without devices,
    which only says where pods run."""

    node_selector: Mapping[str, str] = Field(default_factory=dict)
    """Labels of the nodes that have this accelerator."""

    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Tolerations of the taints that keep other pods off these nodes."""

    runtime_class_name: str = ""
    """RuntimeClass of the pods, where the device needs one."""

    price_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What one device, or one pod of a class without devices, costs per hour, in a currency of yours; metrics show what
    the pods of each service cost."""


class Images(Block):
    """Container images that the operator starts."""

    server: Annotated[str, Field(min_length=1)]
    """The model server: serves Torch models, and fetches models for every runtime."""


class Monitoring(Block):
    """How collectors of metrics find the models."""

    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels of every ServiceMonitor and PrometheusRule, by which a Prometheus selects it, such as release:
    kube-prometheus-stack. Without any, they get those that the cluster's Prometheus objects select."""

    service_monitors: bool = True
    """Make a ServiceMonitor of each service that has metrics, while the cluster has the Prometheus Operator's API."""

    prometheus_rules: bool = True
    """Make a PrometheusRule of each service with objectives, while the cluster has the Prometheus Operator's API."""

    runbook_url: Annotated[str, Field(min_length=1)] = "https://modelservice.dev/runbooks/{alert}"
    """Where an alert says that its runbook is; {alert} stands for its name."""

    dashboard_url: str = ""
    """Where an alert says that the dashboard of its service is; {namespace} and {name} stand for those of the service.
    Empty: it does not say."""

    namespaces: tuple[str, ...] = ()
    """Names of the namespaces from which the NetworkPolicies of the services let metrics be read. Empty: from
    everywhere."""

    annotations: bool = True
    """Mark what is to be scraped with prometheus.io annotations. Turn one of the two off where the same Prometheus
    follows both, as it would count everything twice."""


_PUBLIC_KEY = r"^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+\n-----END PUBLIC KEY-----\n*$"
PublicKey = Annotated[str, Field(pattern=_PUBLIC_KEY, max_length=1024)]
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$", max_length=63)]


class Limits(Block):
    """What users may ask for. A limit that is left out allows everything, an empty one nothing but the usual."""

    trust: tuple[Trust, ...] | None = None
    """Values of spec.model.trust that are allowed."""

    images: tuple[str, ...] | None = None
    """Images that containers may run, beside the operator's own: as they are written in a pod, with `*` for anything
    without a slash and `**` for anything."""

    service_accounts: tuple[str, ...] | None = None
    """Service accounts that pods may have, beside `default`."""

    alerting: tuple[Literal["webhook", "slack", "pagerduty"], ...] | None = None
    """Kinds of spec.monitoring.alerting.receiver that are allowed."""


class Prometheus(Block):
    """Whom to ask how much of the error budgets is left."""

    url: Annotated[str, Field(pattern=r"^(https?://[^@\s]+)?$")] = ""
    """Address of a Prometheus that has the metrics of this cluster's models, or of what answers as one does, such as
    http://prometheus-operated.monitoring:9090. Empty: nobody is asked, and budgets are unknown."""

    bearer_token_file: str = ""
    """File with a token that it wants to see; the operator's own is
    /var/run/secrets/kubernetes.io/serviceaccount/token."""

    ca_file: str = ""
    """File with the certificate authorities to trust. Default: those of the image."""


class Evidence(Block):
    """What is kept of a revision that failed."""

    logs: bool = True
    """The end of the log of its container, 2 KB, in the status of its ModelService, in the ledger and in an Event: who
    may read those can read it."""


class Autoscaling(Block):
    """What the autoscalers of services of engine HPA or KEDA go by."""

    external_metric: str = ""
    """Metric of the external metrics API with the requests without an answer of a service, which its label modelservice
    names: what HPAs read. Empty: they read the pods' own gauge from the custom metrics API."""

    demand_query: str = ""
    """PromQL for the requests without an answer of a service as something in front of its pods counts them, such as a
    gateway, so that they are known where there is no pod; {namespace} and {name} stand for those of the service. Empty:
    KEDA lets no service go to zero."""

    trigger_authentication: str = ""
    """Name of the ClusterTriggerAuthentication with the bearer token by which KEDA may ask the Prometheus of
    prometheus.url. Empty: it asks without one."""


class Watch(Block):
    """What the operator looks after."""

    namespaces: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """The namespaces whose ModelServices it looks after. Empty: all."""


class Config(Block):
    """The whole file; Helm renders it from values.yaml."""

    images: Images
    """Container images that the operator starts."""

    installation: str = "default"
    """Name of this installation of the operator; its children carry it."""

    watch: Watch = Field(default_factory=Watch)
    """What the operator looks after."""

    accelerators: Mapping[str, AcceleratorClass] = Field(default_factory=dict)
    """Accelerator classes by name."""

    limits: Limits = Field(default_factory=Limits)
    """What users may ask for."""

    trusted_keys: Annotated[Mapping[KeyName, PublicKey], Field(max_length=32)] = Field(default_factory=dict)
    """Public keys (PEM, elliptic) of those who may sign models of spec.model.trust Signed, by name."""

    monitoring: Monitoring = Field(default_factory=Monitoring)
    """How collectors of metrics find the models."""

    prometheus: Prometheus = Field(default_factory=Prometheus)
    """Whom to ask how much of the error budgets is left."""

    evidence: Evidence = Field(default_factory=Evidence)
    """What is kept of a revision that failed."""

    autoscaling: Autoscaling = Field(default_factory=Autoscaling)
    """What the autoscalers of others go by."""


DEFAULT = Config(images=Images(server="localhost/modelservice/model-server:dev"))
"""What the chart's own values come to."""


def load(path: Path) -> Config:
    """Read the file at `path`; raises ConfigError with a sentence for each key that is wrong."""
    try:
        return parse(yaml.safe_load(path.read_bytes()) or {}, source=str(path))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error}") from error


def parse(data: object, *, source: str) -> Config:
    """Return the configuration that `data` describes; `source` names it in errors."""
    try:
        return Config.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors()]
        raise ConfigError(f"The configuration {source} is not valid: {'; '.join(wrong)}") from None
