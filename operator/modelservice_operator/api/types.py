"""The spec of a ModelService: the single source of its fields, descriptions, defaults, bounds and rules.

`crd.py` generates the CRD from these classes, `reference.py` the manual, `_parse.py` reads objects with them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, StrictBool

from modelservice_operator.api import percentage
from modelservice_operator.api.duration import Duration
from modelservice_operator.api.percentage import Percentage
from modelservice_operator.api.quantity import Quantity
from modelservice_operator.api.rules import Block, Rule, between

GROUP = "modelservice.dev"
VERSION = "v1alpha1"
KIND = "ModelService"
PLURAL = "modelservices"
API_VERSION = f"{GROUP}/{VERSION}"

# The Torch server's second port: metrics, and health without TLS or tokens.
TORCH_METRICS_PORT = 9090

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_DNS_SUBDOMAIN = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
_HTTP_PATH = r"^/[!-~]*$"
_LABEL_VALUE = r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$"
_QUALIFIED_NAME = r"^([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
_S3_URI = "s3://[A-Za-z0-9._-]{3,255}(/[!-~]*)?"
_HF_URI = "hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+(@[!-.0-~]+)?(/[!-~]*)?"
_OCI_URI = "oci://[A-Za-z0-9.-]+(:[0-9]+)?/[a-z0-9][-._/a-z0-9]*(:[A-Za-z0-9_.-]+)?(@sha256:[0-9a-f]{64})?"
_STORES = f"{_S3_URI}|{_HF_URI}|{_OCI_URI}"
_URI = rf"^(file:///[!-~]*|pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[!-~]*|https://[^/@?#\s]+/[!-~]*|{_STORES})$"
_METADATA_NAME = "^[a-z]([-a-z0-9]*[a-z0-9])?$"

_CRON = "^([0-9A-Z*,/#-]+ ){4}[0-9A-Z*,/#-]+$"

Port = Annotated[int, Field(strict=True, ge=1, le=65535, json_schema_extra={"format": "int32"})]
HttpPath = Annotated[str, Field(pattern=_HTTP_PATH, max_length=1024)]
ObjectName = Annotated[str, Field(pattern=_DNS_SUBDOMAIN, max_length=253)]
KeyName = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


def _whole(least: int, most: int) -> Any:  # noqa: ANN401 - pydantic's Field is typed as whatever it describes
    return Field(strict=True, ge=least, le=most, json_schema_extra={"format": "int32"})


def _every(test: Callable[[str], bool]) -> Callable[[Mapping[str, object]], bool]:
    return lambda mapping: all(test(key) for key in mapping)


def _is_cron(text: str) -> bool:
    """Tell whether its time ever comes, which the API server cannot."""
    try:
        return re.fullmatch(_CRON, text) is not None and next(CronSim(text, datetime(2026, 1, 1))) is not None  # noqa: DTZ001 - of no place
    except (CronSimError, StopIteration):
        return False


def _is_time_zone(name: str) -> bool:
    try:
        return bool(re.match("[A-Za-z]", name)) and bool(ZoneInfo(name).key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


NAMED_AS_KUBERNETES_NAMES_KEYS = Rule(
    message="keys are names such as app or example.com/team, with at most 63 characters after the slash",
    cel=f'self.all(k, k.matches(r"{_QUALIFIED_NAME}"))',
    holds=_every(lambda key: re.fullmatch(_QUALIFIED_NAME, key) is not None),
)
NOT_OURS = Rule(
    message=f"keys that start with {GROUP}/ belong to the operator; choose another prefix",
    cel=f'self.all(k, !k.startsWith("{GROUP}/"))',
    holds=_every(lambda key: not key.startswith(f"{GROUP}/")),
)
NAME = Rule(
    message="metadata.name must start with a letter, hold only a-z, 0-9 and '-', end with a letter or digit, "
    "and have at most 45 characters: Services and Deployments are named after it",
    cel=f'self.metadata.name.size() <= 45 && self.metadata.name.matches("{_METADATA_NAME}")',
    holds=lambda name: len(name) <= 45 and re.fullmatch(_METADATA_NAME, name) is not None,  # noqa: PLR2004 - as above
)

Annotations = Annotated[
    Mapping[str, Annotated[str, Field(max_length=16384)]],
    Field(max_length=64),
    NAMED_AS_KUBERNETES_NAMES_KEYS,
    NOT_OURS,
]
Labels = Annotated[
    Mapping[str, Annotated[str, Field(pattern=_LABEL_VALUE, max_length=63)]],
    Field(max_length=64),
    NAMED_AS_KUBERNETES_NAMES_KEYS,
    NOT_OURS,
]


class ConfigMapReference(Block):
    """A ConfigMap in the namespace of the ModelService."""

    name: ObjectName
    """Name of the ConfigMap."""


class ClaimReference(Block):
    """A PersistentVolumeClaim in the namespace of the ModelService."""

    name: ObjectName
    """Name of the PersistentVolumeClaim."""


class SecretReference(Block):
    """A Secret in the namespace of the ModelService."""

    name: ObjectName
    """Name of the Secret."""


class Trust(StrEnum):
    """What a model may do to the server that loads it."""

    DATA = "Data"
    SIGNED = "Signed"
    NATIVE = "Native"


def _only_for(field: str, attribute: str, *schemes: str) -> Rule:
    """Return the rule that a field of the model is for sources of these schemes."""
    listed = ", ".join(schemes[:-1]) + f" and {schemes[-1]}"
    return Rule(
        message=f"{field} is for {listed} sources; remove it, or give such a uri",
        cel=f'!has(self.{field}) || self.uri.matches("^({"|".join(schemes)})://")',
        holds=lambda model: getattr(model, attribute) is None or model.uri.partition("://")[0] in schemes,
    )


class Model(Block):
    """What is served: where the model comes from and which bytes it must be."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$", max_length=128)] = ""
    """Name of the model in the inference protocol: /v2/models/NAME/infer. Default: that of the ModelService."""

    uri: Annotated[
        str,
        Field(max_length=2048),
        Rule(
            message="must be file:///path (in the image), pvc://claim/path, https://host/path, s3://bucket/path, "
            "hf://org/repo[@revision][/path] or oci://host/repo[:tag|@digest], without spaces, user names or '..'",
            cel=f'self.matches(r"{_URI}") && !self.matches(r"/[.][.](/|$)")',
            holds=lambda uri: re.fullmatch(_URI, uri) is not None and ".." not in uri.split("/"),
        ),
    ]
    """Where the model is: `file:///path` (a directory in the server's image), `pvc://claim/path` (a directory of a
    PersistentVolumeClaim, mounted read-only), `https://host/path` (a .tar, .tar.gz, .tgz or .zip archive of the
    directory, or a single file), `s3://bucket/path` (all objects below it, or one as with https),
    `hf://org/repo[@revision][/path]` (files of the Hugging Face Hub), or `oci://host/repo[:tag|@digest]` (an artefact
    in a registry)."""

    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Pins the content: `sha256:` and the SHA-256 of what `find . -type f | LC_ALL=C sort | xargs sha256sum` prints
    in the model directory. Without it the first fetch of a revision pins what it found."""

    trust: Trust = Trust.DATA
    """What the model may do. `Data`: be read; weights with a named architecture, or a .pt2 whose every step is allowed
    by name. `Native`: run code of its own (TorchScript, handlers, any .pt2) with all that the server may do; only for
    models whose maker you trust as an image's. `Signed`: the same, if a key that the administrator trusts signed it."""

    ca_config_map_ref: ConfigMapReference | None = None
    """ConfigMap whose `ca.crt` holds the certificate authorities to trust for a source that is asked over TLS. Default:
    those of the image."""

    credentials_secret_ref: SecretReference | None = None
    """Secret for an s3 source, with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where needed,
    `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` (of a store that is not Amazon's); for an hf source, with
    `HF_TOKEN` and, for a mirror, `HF_ENDPOINT`; for an oci source, of type `kubernetes.io/dockerconfigjson`. Only the
    container that fetches has them."""

    cache_claim_ref: ClaimReference | None = None
    """PersistentVolumeClaim in which what is downloaded is kept, for all pods and services that name it: a
    model is downloaded once. Pods on several nodes need access mode ReadWriteMany. Only what is damaged is ever
    removed."""

    rules: ClassVar = (
        _only_for("caConfigMapRef", "ca_config_map_ref", "https", "s3", "hf", "oci"),
        _only_for("credentialsSecretRef", "credentials_secret_ref", "s3", "hf", "oci"),
        _only_for("cacheClaimRef", "cache_claim_ref", "https", "s3", "hf", "oci"),
        Rule(
            message="Signed is for models that are fetched; one in an image is trusted as its image",
            cel='self.trust != "Signed" || !self.uri.startsWith("file:")',
            holds=lambda model: model.trust is not Trust.SIGNED or not model.uri.startswith("file:"),
        ),
    )


class Precision(StrEnum):
    """The numbers that a model computes in."""

    AUTO = "Auto"
    FLOAT32 = "Float32"
    BFLOAT16 = "BFloat16"


class RuntimeName(StrEnum):
    """Which server runs the model."""

    TORCH = "Torch"
    VLLM = "VLLM"
    CUSTOM = "Custom"


class KeyReference(Block):
    """A key of a Secret or ConfigMap in the namespace of the ModelService."""

    name: ObjectName
    """Name of the object."""

    key: KeyName
    """Key in its data."""

    optional: StrictBool = False
    """Whether the pod starts if it is missing."""


class EnvSource(Block):
    """Where the value of an environment variable comes from."""

    secret_key_ref: KeyReference | None = None
    """Key of a Secret in this namespace."""

    config_map_key_ref: KeyReference | None = None
    """Key of a ConfigMap in this namespace."""

    rules: ClassVar = (
        Rule(
            message="give either secretKeyRef or configMapKeyRef",
            cel="has(self.secretKeyRef) != has(self.configMapKeyRef)",
            holds=lambda source: (source.secret_key_ref is None) != (source.config_map_key_ref is None),
        ),
    )


class EnvVar(Block):
    """An environment variable of the server container."""

    name: Annotated[
        str,
        Field(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", max_length=253),
        Rule(
            message="NVIDIA_* variables would hand out GPUs past the scheduler; ask for devices in spec.accelerator",
            cel='!self.startsWith("NVIDIA_")',
            holds=lambda name: not name.startswith("NVIDIA_"),
        ),
    ]
    """Name of the variable."""

    value: Annotated[str, Field(max_length=32768)] = ""
    """Value of the variable; `$(OTHER)` stands for the value of a variable listed before it."""

    value_from: EnvSource | None = None
    """Takes the value from a Secret or ConfigMap."""

    rules: ClassVar = (
        Rule(
            message="give either value or valueFrom",
            cel="!has(self.value) || !has(self.valueFrom)",
            holds=lambda variable: not variable.gives("value") or variable.value_from is None,
        ),
    )


# A metric as PromQL writes it. What may stand in a matcher ends in no other query than its own.
_METRIC = r'^([a-zA-Z_:][a-zA-Z0-9_:]*([{]([a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"[^"{}\\]*",?)+[}])?)?$'
Metric = Annotated[str, Field(pattern=_METRIC, max_length=256)]


class RuntimeMetrics(Block):
    """What a Custom server calls the metrics of objectives: names, with matchers where not all of a metric counts."""

    requests: Metric = ""
    """Counter of requests, for availability."""

    errors: Metric = ""
    """Counter of those that failed, for availability, such as http_requests_total{status="5xx"}."""

    latency: Metric = ""
    """Histogram of how long answers took, without `_bucket`. A threshold must be one of its bounds."""

    first_token: Metric = ""
    """Histogram of how long the first token of an answer took, as above."""

    inter_token: Metric = ""
    """Histogram of how long each next token took, as above."""

    inflight: Metric = ""
    """Gauge of requests without an answer, for autoscaling."""

    rules: ClassVar = (
        Rule(
            message="requests and errors need each other: availability is the share of the one in the other",
            cel="has(self.requests) == has(self.errors)",
            holds=lambda metrics: metrics.gives("requests") == metrics.gives("errors"),
        ),
    )


class Runtime(Block):
    """The server that runs the model."""

    name: RuntimeName = RuntimeName.TORCH
    """`Torch`: the server of this project, which speaks the Open Inference Protocol (V2). `VLLM`: vLLM's server of
    OpenAI's protocol, 0.11 or later. `Custom`: any server in an image of yours; it finds the model in
    /model/current."""

    image: Annotated[str, Field(pattern=r"^[!-~]*$", max_length=512)] = ""
    """Container image of the server. Required but for Torch, whose default is the image in the operator's
    configuration."""

    port: Port = 8080
    """Port on which the server answers inference requests."""

    args: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=128)] = ()
    """Arguments of the server container; for Torch and VLLM they come after the operator's own."""

    env: Annotated[
        tuple[EnvVar, ...],
        Field(
            max_length=128,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    """Environment variables of the server container."""

    readiness_path: HttpPath = ""
    """Custom only: path on the serving port that answers 200 once the model can serve. Default: ready when the port is
    open."""

    liveness_path: HttpPath = ""
    """Custom only: path on the serving port that answers 200 while the server works; else it is restarted. Default: it
    is when it exits."""

    metrics_port: Port | None = None
    """Custom only: port of the Prometheus metrics. Default: the serving port."""

    metrics_path: HttpPath = ""
    """Custom only: path of the Prometheus metrics. Without it nothing is scraped."""

    metrics: RuntimeMetrics | None = None
    """Custom only: what the server calls the metrics that spec.slo is about. A change makes no new revision."""

    rules: ClassVar = (
        Rule(
            message="a Custom or VLLM runtime needs image: the container image of the server",
            cel='self.name == "Torch" || (has(self.image) && self.image != "")',
            holds=lambda runtime: runtime.name is RuntimeName.TORCH or runtime.image != "",
        ),
        Rule(
            message="readinessPath, livenessPath, metricsPort, metricsPath and metrics are for a Custom runtime; "
            "those of other servers are known, remove them",
            cel='self.name == "Custom" || !(has(self.readinessPath) || has(self.livenessPath) '
            "|| has(self.metricsPort) || has(self.metricsPath) || has(self.metrics))",
            holds=lambda runtime: (
                runtime.name is RuntimeName.CUSTOM
                or not runtime.gives("readiness_path", "liveness_path", "metrics_port", "metrics_path", "metrics")
            ),
        ),
        Rule(
            message="metricsPort and metrics need metricsPath",
            cel="!(has(self.metricsPort) || has(self.metrics)) || has(self.metricsPath)",
            holds=lambda runtime: not runtime.gives("metrics_port", "metrics") or runtime.gives("metrics_path"),
        ),
        Rule(
            message=f"port {TORCH_METRICS_PORT} is the Torch server's metrics port; choose another",
            cel=f'self.name != "Torch" || self.port != {TORCH_METRICS_PORT}',
            holds=lambda runtime: runtime.name is not RuntimeName.TORCH or runtime.port != TORCH_METRICS_PORT,
        ),
    )


class Serving(Block):
    """How the Torch server batches, queues and gives up on requests."""

    max_batch_size: Annotated[int, _whole(1, 4096)] = 64
    """Most items that are run through the model at once; 1 switches batching off."""

    max_batch_delay: Annotated[Duration, between("0s", "10s")] = Duration.parse("0s")
    """How long a batch waits for more items while the model is idle. At 0s they gather only while it is busy, which
    costs no latency."""

    max_queue: Annotated[int, _whole(1, 65536)] = 256
    """Most requests that wait for the model; one more is answered with 429 and Retry-After."""

    request_timeout: Annotated[Duration, between("1ms", "1h")] = Duration.parse("10s")
    """How long a request may take, its waiting included; then it is answered with 504."""


class ExplainMethod(StrEnum):
    """How an answer is explained."""

    INTEGRATED_GRADIENTS = "IntegratedGradients"
    SALIENCY = "Saliency"
    FEATURE_ABLATION = "FeatureAblation"
    KERNEL_SHAP = "KernelShap"


def _in_one_order(methods: tuple[ExplainMethod, ...]) -> tuple[ExplainMethod, ...]:
    """Return a set of methods as the types list them, so that two ways to write it are one wish."""
    return tuple(method for method in ExplainMethod if method in methods)


class Explain(Block):
    """How the Torch server explains its answers, at /v2/models/NAME/explain."""

    methods: Annotated[
        tuple[ExplainMethod, ...],
        Field(max_length=len(ExplainMethod), json_schema_extra={"x-kubernetes-list-type": "set"}),
        AfterValidator(_in_one_order),
    ] = ()
    """What clients may ask for: which values of the input made one value of the output what it is. Differentiating
    the model: `IntegratedGradients`, `Saliency`. Running it with values replaced: `FeatureAblation`, `KernelShap`,
    for integers too. It takes CPU from inference. Default: none."""


class Accelerator(Block):
    """The devices of each pod."""

    class_: Annotated[str, Field(alias="class", pattern=_DNS_LABEL, max_length=63)] = ""
    """Class of accelerator, of those that the administrator defines: resource, nodes, tolerations."""

    resource: Annotated[
        str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$", max_length=317)
    ] = ""
    """Extended resource that a device plugin advertises, such as nvidia.com/gpu, where no class is defined."""

    count: Annotated[int, _whole(1, 1024)] = 1
    """Number of devices per pod."""

    rules: ClassVar = (
        Rule(
            message="give either class (defined by the administrator) or resource (such as nvidia.com/gpu)",
            cel="has(self.class) != has(self.resource)",
            holds=lambda accelerator: accelerator.gives("class_") != accelerator.gives("resource"),
        ),
    )


Amounts = Annotated[Mapping[str, Quantity], Field(max_length=16), NAMED_AS_KUBERNETES_NAMES_KEYS]


class Resources(Block):
    """What the server container of each pod asks for and may use, besides accelerators."""

    requests: Amounts = Field(default_factory=dict)
    """What the scheduler sets aside, such as cpu: 500m and memory: 4Gi."""

    limits: Amounts = Field(default_factory=dict)
    """What the container may use at most: more memory ends it, more cpu is slowed down. The Torch server starts one
    process per whole cpu."""

    rules: ClassVar = (
        Rule(
            message="a request may not be larger than its limit",
            cel="!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) "
            "|| quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
            holds=lambda resources: all(
                amount <= resources.limits.get(name, amount) for name, amount in resources.requests.items()
            ),
        ),
    )


class ServiceType(StrEnum):
    """How the Service is reached, as in a Kubernetes Service."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class Service(Block):
    """The Service that carries the inference requests."""

    type: ServiceType = ServiceType.CLUSTER_IP
    """Reachable from inside the cluster (`ClusterIP`), on a port of every node too (`NodePort`), or through the cloud's
    load balancer too (`LoadBalancer`)."""

    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the Service, as for the cloud's load balancer."""


class PodMetadata(Block):
    """Labels and annotations of the pods."""

    labels: Labels = Field(default_factory=dict)
    """Labels added to the pods. They do not change which pods the Service selects."""

    annotations: Annotations = Field(default_factory=dict)
    """Annotations added to the pods."""


class PodTemplate(Block):
    """An overlay on the pods that the operator renders."""

    metadata: PodMetadata = Field(default_factory=PodMetadata)
    """Labels and annotations added to the pods."""

    spec: Annotated[Mapping[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})] = Field(
        default_factory=dict
    )
    """Part of a PodSpec (`kubectl explain pod.spec`) that is laid over the rendered one as a strategic merge patch:
    nodeSelector, tolerations, affinity, volumes, more containers and so on. The rendered containers are `server` and
    `fetch` (an init container)."""


class Auth(Block):
    """Who may ask the model."""

    tokens_secret_ref: SecretReference
    """Secret of which every key holds one bearer token: letters, digits and `-._~+/`. A request must show one of them
    (`Authorization: Bearer TOKEN`), but for the health paths. A changed Secret needs no new pods."""


class Tls(Block):
    """What the serving port shows its clients."""

    secret_ref: SecretReference
    """Secret, as of type kubernetes.io/tls, with the certificate chain (`tls.crt`) and its key (`tls.key`). A renewed
    certificate needs no new pods."""


class LabelSelector(Block):
    """What has these labels; everything, where none are given."""

    match_labels: Annotated[Mapping[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] = Field(
        default_factory=dict
    )
    """Labels and their values."""


def _is_range(text: str) -> bool:
    address, _, bits = text.partition("/")
    try:
        ipaddress.ip_network(f"{address}/{int(bits)}", strict=False)
    except ValueError:
        return False
    return bits.isdecimal()


class IpBlock(Block):
    """A range of addresses."""

    cidr: Annotated[
        str,
        Field(max_length=43),
        Rule(
            message="must be a range of addresses such as 10.0.0.0/8 or fd00::/8", cel="isCIDR(self)", holds=_is_range
        ),
    ]
    """The range, such as 10.0.0.0/8."""


class NetworkPolicyPeer(Block):
    """Who may connect, as in the `from` of a NetworkPolicy."""

    pod_selector: LabelSelector | None = None
    """Pods: of this namespace, or of those of namespaceSelector."""

    namespace_selector: LabelSelector | None = None
    """Namespaces: all their pods, or those of podSelector."""

    ip_block: IpBlock | None = None
    """Addresses outside of the cluster."""

    rules: ClassVar = (
        Rule(
            message="give podSelector, namespaceSelector or both, or else ipBlock",
            cel="has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
            holds=lambda peer: (
                (peer.ip_block is None) != (peer.pod_selector is None and peer.namespace_selector is None)
            ),
        ),
    )


class Egress(StrEnum):
    """Where pods may connect to."""

    OPEN = "Open"
    RESTRICTED = "Restricted"


class NetworkPolicy(Block):
    """Who may connect to the pods and where they may connect to, where the cluster's network enforces it."""

    enabled: StrictBool = True
    """Whether there is a NetworkPolicy. It lets nobody in but to the ports that the pods declare, and to their metrics
    from namespaces that the administrator names."""

    allow_from: Annotated[tuple[NetworkPolicyPeer, ...], Field(max_length=32)] = ()
    """Who may connect to the pods' ports but for that of the metrics, as `from` in a NetworkPolicy. Default: all."""

    egress: Egress = Egress.OPEN
    """Where the pods may connect to. `Restricted`: to DNS, and to fetch a model over the network, to port 443 and the
    port of its uri, anywhere. NetworkPolicies of your own add to this."""


class Security(Block):
    """Who may ask the model, and over what."""

    auth: Auth | None = None
    """Who may ask the model. Default: everybody who reaches the serving port."""

    tls: Tls | None = None
    """Has the serving port speak HTTPS. Default: HTTP. While it is added or removed, pods of both kinds answer; where
    that matters, make a second ModelService."""

    network_policy: NetworkPolicy = Field(default_factory=NetworkPolicy)
    """Who may connect to the pods and where they may connect to, if the cluster's network enforces it."""


IS_A_SHARE = Rule(
    message="must be a percentage such as 20% or 0.5%",
    cel=f'self.matches("{percentage.PATTERN}")',
    holds=lambda _: True,
)


class Score(StrEnum):
    """What an evaluation measures."""

    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    F1 = "f1"
    F1_MICRO = "f1_micro"
    MSE = "mse"
    RMSE = "rmse"
    MAE = "mae"
    LATENCY_P50 = "latency_p50"
    LATENCY_P95 = "latency_p95"
    LATENCY_P99 = "latency_p99"

    @property
    def is_better_when_larger(self) -> bool:
        """Whether a regression is a fall."""
        return self in {self.ACCURACY, self.PRECISION, self.RECALL, self.F1, self.F1_MICRO}


# A score as it is written: a decimal, for latencies in seconds, or with a unit of them.
Bound = Annotated[str, Field(pattern=r"^([0-9]{1,9}([.][0-9]{1,9})?(ms|s)?)?$")]


class EvaluationMetric(Block):
    """What a new revision must reach."""

    name: Score
    """What is measured: precision, recall and f1 as means over the classes, latency_* of one request at a time."""

    min: Bound = ""
    """The least that is let in, such as "0.90"."""

    max: Bound = ""
    """The most that is let in, such as 50ms or "0.05"."""

    max_regression: Bound = ""
    """By how much it may be worse than the stable revision was on the same data."""

    rules: ClassVar = (
        Rule(
            message="give min, max or maxRegression",
            cel="has(self.min) || has(self.max) || has(self.maxRegression)",
            holds=lambda metric: metric.gives("min", "max", "max_regression"),
        ),
    )


class Demand(Block):
    """What a container asks for and may use."""

    requests: Annotated[Mapping[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """What the scheduler sets aside."""

    limits: Annotated[Mapping[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """What it may use at most."""


class Dataset(Block):
    """Examples with their right answers: an .npz file with arrays `x` and `y`."""

    uri: Annotated[
        str,
        Field(max_length=2048),
        Rule(
            message="must be the uri of an .npz file: as model.uri, but for file:// ones",
            cel='self.matches("^(pvc|https|s3|hf)://.*[.]npz$")',
            holds=lambda uri: re.fullmatch(_URI, uri) is not None and re.match("(pvc|https|s3|hf)://.*[.]npz$", uri),
        ),
    ]
    """Where the file is, as in spec.model."""

    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """SHA-256 of the file, if it must be this one."""

    credentials_secret_ref: SecretReference | None = None
    """As in spec.model."""


class Evaluation(Block):
    """How a new revision proves itself before it gets traffic."""

    dataset: Dataset
    """What it is asked, and what it should answer."""

    metrics: Annotated[
        tuple[EvaluationMetric, ...],
        Field(
            max_length=len(Score),
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        Rule(message="give at least one metric", cel="self.size() > 0", holds=len),
    ]
    """What it must reach, all of it."""

    resources: Demand = Field(default_factory=Demand)
    """What the evaluating pod asks for and may use."""


class ScalingEngine(StrEnum):
    """Who decides how many replicas there are."""

    BUILTIN = "Builtin"
    HPA = "HPA"
    KEDA = "KEDA"


Replicas = Annotated[int, _whole(0, 2**31 - 1)]


class Schedule(Block):
    """Bounds that begin at a time."""

    cron: Annotated[
        str,
        Field(max_length=100),
        Rule(
            message="must be five fields as in cron, such as 30 7 * * MON-FRI",
            cel=f'self.matches("{_CRON}")',
            holds=_is_cron,
        ),
    ]
    """When they begin: minute, hour, day of month, month, weekday."""

    time_zone: Annotated[
        str,
        Field(max_length=64),
        Rule(
            message="must be a time zone of the IANA database, such as Europe/Berlin",
            cel='timestamp("2000-01-01T00:00:00Z").getHours(self) >= 0',
            holds=_is_time_zone,
        ),
    ] = "UTC"
    """Time zone of cron."""

    min_replicas: Replicas | None = None
    """Fewest replicas from then on."""

    max_replicas: Replicas | None = None
    """Most replicas from then on."""


class Autoscaling(Block):
    """How the number of replicas follows the requests."""

    engine: ScalingEngine = ScalingEngine.BUILTIN
    """Who decides. `Builtin`: the operator itself, by the pods' own metrics."""

    min_replicas: Replicas = 1
    """Fewest replicas there may be."""

    max_replicas: Annotated[int, _whole(1, 2**31 - 1)]
    """Most replicas there may be."""

    inflight_per_replica: Annotated[int, _whole(1, 2**31 - 1)] | None = None
    """Requests without an answer that a replica is to have. Default: 0.7 of the saturation concurrency that the
    evaluation measured; with a latency in spec.slo Builtin learns which share."""

    scale_down_delay: Annotated[Duration, between("0s", "24h")] = Duration.parse("2m")
    """For how long fewer must have been enough."""

    schedules: Annotated[tuple[Schedule, ...], Field(max_length=16)] = ()
    """Other bounds; those that began last hold."""

    rules: ClassVar = (
        Rule(
            message="minReplicas must not be above maxReplicas, in no schedule either",
            cel="self.minReplicas <= self.maxReplicas && (!has(self.schedules) || self.schedules.all(it, "
            "it.?minReplicas.orValue(self.minReplicas) <= it.?maxReplicas.orValue(self.maxReplicas)))",
            holds=lambda scaling: all(low <= high for low, high in scaling.bounds),
        ),
        Rule(
            message="minReplicas: 0 needs engine: KEDA; the others see no request where there is no pod",
            cel='self.engine == "KEDA" || self.minReplicas > 0 && '
            "(!has(self.schedules) || self.schedules.all(it, it.?minReplicas.orValue(1) > 0))",
            holds=lambda scaling: scaling.engine is ScalingEngine.KEDA or all(low > 0 for low, _ in scaling.bounds),
        ),
    )

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """The usual bounds, then those of each schedule."""
        usual = (self.min_replicas, self.max_replicas)
        return (
            usual,
            *(
                (
                    usual[0] if it.min_replicas is None else it.min_replicas,
                    usual[1] if it.max_replicas is None else it.max_replicas,
                )
                for it in self.schedules
            ),
        )


class RolloutStep(Block):
    """A share of the requests, and how long it stays at it."""

    weight: Annotated[
        Percentage,
        Rule(
            message="must be a whole percentage from 1% to 100%",
            cel='self.matches("^([1-9][0-9]?|100)%$")',
            holds=lambda weight: re.fullmatch("([1-9][0-9]?|100)%", str(weight)) is not None,
        ),
    ]
    """Share of the pods that are of the new revision; status has the share that was reached."""

    pause: Annotated[Duration, between("0s", "720h")] = Duration.parse("0s")
    """How long it stays there."""


class Capacity(StrEnum):
    """Whether a rollout may start extra pods."""

    AUTO = "Auto"
    SURGE = "Surge"
    REPLACE = "Replace"


class OnNoTraffic(StrEnum):
    """What becomes of a revision that nobody asks."""

    PROMOTE = "Promote"
    HOLD = "Hold"


class Analysis(Block):
    """What live requests must show of a new revision before it goes on."""

    min_requests: Annotated[int, _whole(1, 1_000_000)] = 100
    """How many must have been answered for a judgement."""

    max_error_rate: Annotated[Percentage, IS_A_SHARE] = Percentage.parse("1%")
    """The share that may fail."""

    max_latency_regression: Annotated[Percentage, IS_A_SHARE] = Percentage.parse("20%")
    """By how much the 95th percentile may be above that of the stable revision."""

    on_no_traffic: OnNoTraffic = OnNoTraffic.PROMOTE
    """With fewer requests by the end of the pause: `Promote` goes on if an evaluation was passed, else it waits as
    `Hold` does."""


class Rollout(Block):
    """How a changed model is let in."""

    steps: Annotated[
        tuple[RolloutStep, ...],
        Field(max_length=16),
        Rule(
            message="the weights of steps must not fall",
            cel='self.map(step, int(step.weight.replace("%", ""))).isSorted()',
            holds=lambda steps: all(one.weight <= other.weight for one, other in pairwise(steps)),
        ),
    ] = ()
    """Shares at which it stops on its way in. None: pod by pod. One step of 100%: all its pods first, then all
    requests at once (blue/green)."""

    capacity: Capacity = Capacity.AUTO
    """`Surge`: one pod more than promised. `Replace`: one less, even the only one. `Auto`: one more, and where there is
    no room for it for capacityPatience one less, but not the only one."""

    capacity_patience: Annotated[Duration, between("0s", "24h")] = Duration.parse("10m")
    """How long `Auto` waits for room."""

    analysis: Analysis | None = None
    """What live requests must show at each step; without steps, of the first pod. Without it time alone decides."""

    keep_previous: Annotated[Duration, between("0s", "24h")] = Duration.parse("0s")
    """How long the pods left of the revision before stay, idle, for a quick way back, while there is room."""

    freeze_on_budget_exhausted: StrictBool = True
    """Holds new revisions back while an error budget of spec.slo is known to be spent; ways back stay open."""

    paused: StrictBool = False
    """Holds new revisions back: none is started, none takes over. Scaling and repair go on."""


class SloWindow(StrEnum):
    """Over how long objectives are kept."""

    WEEK = "7d"
    FOUR_WEEKS = "28d"
    MONTH = "30d"


class ObjectiveName(StrEnum):
    """What an objective is about."""

    AVAILABILITY = "availability"
    LATENCY = "latency"
    FIRST_TOKEN = "firstToken"  # noqa: S105 (no password)
    INTER_TOKEN = "interToken"  # noqa: S105 (as above)


class Objective(Block):
    """A promise about a share of the requests."""

    name: ObjectiveName
    """What is promised. `availability`: an answer that is not 5xx or 429. `latency`: an answer within the threshold.
    `firstToken`, `interToken`: its first token, each next one, within it; for VLLM, or Custom with such metrics."""

    target: Annotated[
        Percentage,
        Rule(
            message="must be a percentage from 50% to 99.999%, such as 99.9%",
            cel='self.matches("^[0-9]{2}([.][0-9]{1,3})?%$") && double(self.substring(0, self.size() - 1)) >= 50.0',
            holds=lambda target: Percentage.parse("50%") <= target <= Percentage.parse("99.999%"),
        ),
    ]
    """Share of the requests for which it holds, over the window. The rest is the error budget."""

    threshold: Annotated[Duration, between("1ms", "1h")] | None = None
    """All but availability: how long it may take. A new one makes a new revision of a Torch server; for others it must
    be a bound of their histogram."""

    rules: ClassVar = (
        Rule(
            message="latency needs a threshold, such as 250ms; availability has none",
            cel='(self.name != "availability") == has(self.threshold)',
            holds=lambda it: (it.name is not ObjectiveName.AVAILABILITY) == (it.threshold is not None),
        ),
    )


# Where the buckets of vLLM's histograms end, up to an hour: vllm/v1/metrics/buckets.py.
VLLM_BOUNDS: Mapping[str, Sequence[str]] = {
    name: bounds.split()
    for name, bounds in {
        "latency": "300ms 500ms 800ms 1s 1s500ms 2s 2s500ms 5s 10s 15s 20s 30s 40s 50s 1m 2m 4m 8m 16m 32m",
        "firstToken": "1ms 5ms 10ms 20ms 40ms 60ms 80ms 100ms 250ms 500ms 750ms 1s 2s500ms 5s 7s500ms 10s 20s 40s "
        "1m20s 2m40s 10m40s 42m40s",
        "interToken": "10ms 25ms 50ms 75ms 100ms 150ms 200ms 300ms 400ms 500ms 750ms 1s 2s500ms 5s 7s500ms 10s 20s "
        "40s 1m20s",
    }.items()
}


def _in_milliseconds(objective: str) -> list[int]:
    return [Duration.parse(bound).milliseconds for bound in VLLM_BOUNDS[objective]]


class Slo(Block):
    """What the service promises. The Prometheus Operator, where there is one, is given rules and alerts about it."""

    window: SloWindow = SloWindow.MONTH
    """Over how long the objectives are kept."""

    objectives: Annotated[
        tuple[Objective, ...],
        Field(
            max_length=len(ObjectiveName),
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        Rule(message="give at least one objective", cel="self.size() > 0", holds=len),
    ]
    """The promises, each at most once."""


class SecretKeyReference(Block):
    """A key of a Secret in the namespace of the ModelService."""

    name: ObjectName
    """Name of the Secret."""

    key: KeyName
    """Key in its data."""


class Webhook(Block):
    """Any server that takes Alertmanager's webhooks."""

    url_secret_ref: SecretKeyReference
    """Key of a Secret with the address."""


class Slack(Block):
    """A channel in Slack, or in anything that takes Slack's webhooks."""

    url_secret_ref: SecretKeyReference
    """Key of a Secret with the address of the incoming webhook."""

    channel: Annotated[str, Field(max_length=256)] = ""
    """Channel, such as #nlp-alerts. Default: the webhook's own."""


class PagerDuty(Block):
    """A service in PagerDuty."""

    routing_key_secret_ref: SecretKeyReference
    """Key of a Secret with the integration key of the Events API v2."""


class Receiver(Block):
    """Who is told of alerts; each that is given is."""

    webhook: Webhook | None = None
    """Any server that takes Alertmanager's webhooks."""

    slack: Slack | None = None
    """A channel in Slack, or in anything that takes Slack's webhooks."""

    pagerduty: PagerDuty | None = None
    """A service in PagerDuty, which is told the severity of an alert."""

    rules: ClassVar = (
        Rule(
            message="give at least one of webhook, slack and pagerduty",
            cel="has(self.webhook) || has(self.slack) || has(self.pagerduty)",
            holds=lambda receiver: receiver.gives("webhook", "slack", "pagerduty"),
        ),
    )


class Alerting(Block):
    """Who is told of this model's alerts."""

    receiver: Receiver
    """Who is told, by an AlertmanagerConfig: needs an Alertmanager of the Prometheus Operator."""


class Drift(Block):
    """When inputs are no longer what the model learned from."""

    psi: Annotated[str, Field(pattern=r"^[0-9]{1,2}([.][0-9]{1,3})?$")] = "0.25"
    """Population stability index of the last hour that is too much."""

    for_: Annotated[str, Field(alias="for", pattern=r"^[0-9]{1,4}(s|m|h)$")] = "30m"
    """For how long."""


class Monitoring(Block):
    """How the model is watched."""

    alerting: Alerting | None = None
    """Who is told of this model's alerts. Without it the administrator's own routes decide."""

    drift: Drift | None = None
    """Alert on inputs unlike those that the model learned."""


class ModelServiceSpec(Block):
    """What is wanted: the model, where it runs, how many replicas, how it changes."""

    model: Model
    """What is served: where the model comes from and which bytes it must be."""

    runtime: Runtime = Field(default_factory=Runtime)
    """The server that runs the model."""

    precision: Precision = Precision.AUTO
    """The numbers that the Torch server computes in; answers keep their datatype. `Auto`: bfloat16 where the processor
    has it, it is faster, and golden outputs stay within 2 %; else Float32. `BFloat16`: that, or the model is not
    served."""

    serving: Serving = Field(default_factory=Serving)
    """How the Torch server batches, queues and gives up on requests."""

    explain: Explain = Field(default_factory=Explain)
    """How the Torch server explains its answers, at /v2/models/NAME/explain."""

    accelerator: Accelerator | None = None
    """The devices of each pod. Without it the model runs on the CPU."""

    resources: Resources = Field(default_factory=Resources)
    """What the server container of each pod asks for and may use, besides accelerators."""

    startup_timeout: Annotated[Duration, between("1s", "24h")] = Duration.parse("10m")
    """How long a server may take to load the model until it is restarted."""

    service: Service = Field(default_factory=Service)
    """The Service that carries the inference requests. It has the name of the ModelService."""

    pod_template: PodTemplate = Field(default_factory=PodTemplate)
    """Overlay on the rendered pods, for what has no field of its own."""

    security: Security = Field(default_factory=Security)
    """Who may ask the model, and over what. Probes and metrics have a port of their own, without tokens or TLS."""

    replicas: Replicas | None = None
    """Number of pods. Leave it out where an autoscaler or `kubectl scale` writes it. Default: the number that runs; for
    a new ModelService autoscaling.minReplicas, else 1."""

    autoscaling: Autoscaling | None = None
    """How the number of replicas follows the requests."""

    evaluation: Evaluation | None = None
    """How a new revision proves itself before it gets traffic."""

    rollout: Rollout = Field(default_factory=Rollout)
    """How a changed model is let in."""

    slo: Slo | None = None
    """What the service promises. The Prometheus Operator, where there is one, is given rules and alerts about it."""

    monitoring: Monitoring = Field(default_factory=Monitoring)
    """How the model is watched."""

    @property
    def thresholds(self) -> tuple[Duration, ...]:
        """What the Torch server must count exactly up to, shortest first."""
        objectives = self.slo.objectives if self.slo and self.runtime.name is RuntimeName.TORCH else ()
        return tuple(sorted(each.threshold for each in objectives if each.threshold is not None))

    @property
    def asks_the_torch_server(self) -> bool:
        """Whether anything is given that only the Torch server does; of a file:// model it alone sees the files."""
        return (
            self.gives("serving")
            or self.precision is not Precision.AUTO
            or self.explain.methods != ()
            or self.model.trust is Trust.NATIVE
            or self.security.auth is not None
            or self.security.tls is not None
            or self.monitoring.drift is not None
            or (self.model.digest != "" and self.model.uri.startswith("file:"))
        )

    def measures(self, objective: Objective) -> bool:
        """Tell whether the runtime has metrics of what an objective is about."""
        match self.runtime.name:
            case RuntimeName.TORCH:
                return objective.name in {ObjectiveName.AVAILABILITY, ObjectiveName.LATENCY}
            case RuntimeName.VLLM:
                return True
            case RuntimeName.CUSTOM:
                fields = {"availability": "requests", "firstToken": "first_token", "interToken": "inter_token"}
                metrics = self.runtime.metrics
                return metrics is not None and metrics.gives(fields.get(objective.name, "latency"))

    rules: ClassVar = (
        Rule(
            message="serving, precision, explain, trust Native, monitoring.drift, security.auth, security.tls and the "
            "digest of a file:// model are for the Torch runtime; another server has flags of its own in runtime.args",
            cel='!has(self.runtime) || self.runtime.name == "Torch" || !(has(self.serving) '
            '|| self.precision != "Auto" || has(self.explain) && has(self.explain.methods) '
            '&& self.explain.methods.size() > 0 || self.model.trust == "Native" '
            "|| has(self.security) && (has(self.security.auth) || has(self.security.tls)) "
            "|| has(self.monitoring) && has(self.monitoring.drift) "
            '|| has(self.model.digest) && self.model.digest != "" && self.model.uri.startsWith("file:"))',
            holds=lambda spec: spec.runtime.name is RuntimeName.TORCH or not spec.asks_the_torch_server,
        ),
        Rule(
            message="an objective cannot be measured: firstToken and interToken need a VLLM runtime, and a Custom one "
            "needs the metrics of each objective in runtime.metrics",
            cel='!has(self.slo) || self.slo.objectives.all(each, !has(self.runtime) || self.runtime.name == "Torch" '
            '? each.name in ["availability", "latency"] : self.runtime.name == "VLLM" || has(self.runtime.metrics) && ('
            'each.name == "availability" ? has(self.runtime.metrics.requests) : '
            'each.name == "latency" ? has(self.runtime.metrics.latency) : '
            'each.name == "firstToken" ? has(self.runtime.metrics.firstToken) : has(self.runtime.metrics.interToken)))',
            holds=lambda spec: spec.slo is None or all(map(spec.measures, spec.slo.objectives)),
        ),
        Rule(
            message="vLLM's histograms have no bucket that ends at the threshold; choose one of the bounds that "
            "docs/service-quality.md lists",
            cel='!has(self.slo) || !has(self.runtime) || self.runtime.name != "VLLM" || self.slo.objectives.all(each, '
            "!has(each.threshold) || duration(each.threshold).getMilliseconds() in "
            f'(each.name == "latency" ? {_in_milliseconds("latency")} : '
            f'each.name == "firstToken" ? {_in_milliseconds("firstToken")} : {_in_milliseconds("interToken")}))',
            holds=lambda spec: (
                spec.slo is None
                or spec.runtime.name is not RuntimeName.VLLM
                or all(
                    each.threshold is None or each.threshold in map(Duration.parse, VLLM_BOUNDS[each.name.value])
                    for each in spec.slo.objectives
                )
            ),
        ),
        Rule(
            message="a latency threshold must be shorter than serving.requestTimeout, or no request could miss it",
            cel='!has(self.slo) || (has(self.runtime) && self.runtime.name != "Torch") '
            "|| self.slo.objectives.all(each, !has(each.threshold) || "
            "duration(each.threshold) < duration(has(self.serving) "
            f'? self.serving.requestTimeout : "{Serving().request_timeout}"))',
            holds=lambda spec: (
                spec.slo is None
                or spec.runtime.name is not RuntimeName.TORCH
                or all(
                    each.threshold is None or each.threshold < spec.serving.request_timeout
                    for each in spec.slo.objectives
                )
            ),
        ),
        Rule(
            message="resources names the resource of accelerator; remove it there, accelerator.count is its number",
            cel="!has(self.accelerator) || !has(self.accelerator.resource) || !has(self.resources) "
            "|| !((has(self.resources.requests) && self.accelerator.resource in self.resources.requests) "
            "|| (has(self.resources.limits) && self.accelerator.resource in self.resources.limits))",
            holds=lambda spec: (
                spec.accelerator is None
                or spec.accelerator.resource not in {*spec.resources.requests, *spec.resources.limits}
            ),
        ),
    )
