"""The pod template of a revision: a container that fetches the model, the server, and the user's overlay on both."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.api.types import (
    TORCH_METRICS_PORT,
    Accelerator,
    EnvVar,
    ModelServiceSpec,
    Precision,
    RuntimeName,
    SecretReference,
    Trust,
)
from modelservice_operator.config import AcceleratorClass, Config
from modelservice_operator.render.overlay import BadOverlayError, merge
from modelservice_operator.rollout.situation import fetches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Body = dict[str, Any]

MODEL_DIRECTORY = "/model"
SOURCE_DIRECTORY = "/mnt/source"  # where a claim is mounted; `model-server fetch` knows it
CACHE_DIRECTORY = "/mnt/cache"
CA_DIRECTORY = "/etc/modelservice/ca"
TOKENS_DIRECTORY = "/etc/modelservice/tokens"
TLS_DIRECTORY = "/etc/modelservice/tls"
# The model server's own bounds, in seconds.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DRAIN_SECONDS = 5  # the model server's default: it goes on serving so long after SIGTERM
_USER = 10001  # of the model server's image

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": _USER,
}
# The user of a Custom image is not ours to choose, nor is whether it writes to its own file system.
_UNPRIVILEGED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class UnknownClassError(ValueError):
    """`spec.accelerator.class` names no class of the operator's configuration."""


def pod_template(name: str, revision: str, spec: ModelServiceSpec, config: Config) -> Body:
    """Return the template that the pods of `revision` run; raises UnknownClassError or BadOverlayError."""
    accelerator = _class_of(spec.accelerator, config)
    rendered: Body = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, **_cache_group(spec)},
        "terminationGracePeriodSeconds": _grace_seconds(spec),
        **_placement(accelerator),
        **({"initContainers": [_fetch(revision, spec, config)]} if _is_fetched(spec) else {}),
        "containers": [_server(spec, accelerator, config)],
        "volumes": _volumes(spec),
    }
    overlay = spec.pod_template
    pod = merge(rendered, overlay.spec, "spec.podTemplate.spec")
    _check(pod, rendered)
    if spec.model.trust is Trust.SIGNED:
        _check_signed(pod, rendered)
    labels = names.service_labels(name) | dict(overlay.metadata.labels) | {names.REVISION: revision}
    annotations = dict(overlay.metadata.annotations)
    return {"metadata": {"labels": labels, **({"annotations": annotations} if annotations else {})}, "spec": pod}


def metrics_port(spec: ModelServiceSpec) -> int:
    """Return the port that is scraped."""
    if spec.runtime.name is RuntimeName.TORCH:
        return TORCH_METRICS_PORT
    return spec.runtime.metrics_port or spec.runtime.port


def metrics_path(spec: ModelServiceSpec) -> str:
    """Return the path that is scraped, empty for a server that has no metrics."""
    return spec.runtime.metrics_path if spec.runtime.name is RuntimeName.CUSTOM else "/metrics"


def serving_port(template: Mapping[str, Any], default: int) -> int:
    """Return the port of the server of pods of a rendered template, `default` where they declare none."""
    ports = (port for container in template["spec"]["containers"] for port in container.get("ports") or ())
    return next((int(port["containerPort"]) for port in ports if port.get("name") == names.HTTP_PORT), default)


def speaks_tls(template: Mapping[str, Any]) -> bool:
    """Tell whether the serving port of pods of a rendered template speaks TLS."""
    return any(_TLS_CERT in (container.get("args") or ()) for container in template["spec"]["containers"])


# -- containers

_TLS_CERT = f"--tls-cert={TLS_DIRECTORY}/tls.crt"


def _fetch(revision: str, spec: ModelServiceSpec, config: Config) -> Body:
    ca = [f"--ca-file={CA_DIRECTORY}/ca.crt"] if spec.model.ca_config_map_ref else []
    cache = [f"--cache={CACHE_DIRECTORY}"] if spec.model.cache_claim_ref else []
    pin: Body = {"name": "MODEL_DIGEST", "value": spec.model.digest}
    if not spec.model.digest:  # written by the operator once the first fetch has found it, hence optional
        reference = {"name": revision, "key": "digest", "optional": True}
        pin = {"name": "MODEL_DIGEST", "valueFrom": {"configMapKeyRef": reference}}
    is_signed = spec.model.trust is Trust.SIGNED
    keys = [{"name": "MODEL_TRUSTED_KEYS", "value": json.dumps(dict(config.trusted_keys))}] if is_signed else []
    return {
        "name": names.FETCH,
        "image": config.images.server if is_signed else server_image(spec, config),
        "imagePullPolicy": "IfNotPresent",
        "args": ["fetch", spec.model.uri, MODEL_DIRECTORY, *ca, *cache],
        "env": [pin, *keys, *credentials(spec.model.uri, spec.model.credentials_secret_ref)],
        "resources": _resources(spec, None),  # as the server's: quotas ask for them, and the larger counts once
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_MODEL_MOUNT, TMP_MOUNT, *_source_mounts(spec), *_ca_mounts(spec), *_cache_mounts(spec)],
    }


# What a source asks for, by scheme: keys that its Secret must have, and those that it may have. One by one, so that a
# Secret cannot set what is not meant, and the kubelet names the key that is missing.
_KEYS = {
    "s3": (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")),
    "hf": (("HF_TOKEN",), ("HF_ENDPOINT",)),
    "oci": (("DOCKER_AUTH_CONFIG",), ()),
}
_KEY_OF = {"DOCKER_AUTH_CONFIG": ".dockerconfigjson"}  # where a Secret of a type of its own has another name for it


def credentials(uri: str, secret: SecretReference | None) -> list[Body]:
    """Return the variables of a container that fetches from `uri`."""
    if secret is None:
        return []
    required, optional = _KEYS[uri.partition("://")[0]]
    return [
        {
            "name": name,
            "valueFrom": {
                "secretKeyRef": {"name": secret.name, "key": _KEY_OF.get(name, name), "optional": name in optional}
            },
        }
        for name in (*required, *optional)
    ]


def _server(spec: ModelServiceSpec, accelerator: _Devices | None, config: Config) -> Body:
    torch = spec.runtime.name is RuntimeName.TORCH
    ports = [{"name": names.HTTP_PORT, "containerPort": spec.runtime.port, "protocol": "TCP"}]
    if metrics_port(spec) != spec.runtime.port:
        ports.append({"name": names.METRICS_PORT, "containerPort": metrics_port(spec), "protocol": "TCP"})
    mounts = [_MODEL_MOUNT | {"readOnly": True}, *_source_mounts(spec)] if _is_fetched(spec) else []
    mounts += [mount | {"readOnly": True} for mount in _cache_mounts(spec)]
    mounts += [*_secret_mounts(spec), *([_SHM_MOUNT] if spec.runtime.name is RuntimeName.VLLM else [])]
    return {
        "name": names.SERVER,
        "image": server_image(spec, config) if torch else spec.runtime.image,
        "imagePullPolicy": "IfNotPresent",
        **_command(spec),
        "ports": ports,
        **({"env": env} if (env := [_env(variable) for variable in spec.runtime.env]) else {}),
        "resources": _resources(spec, accelerator),
        **_server_probes(spec),
        **({} if torch else {"lifecycle": {"preStop": {"sleep": {"seconds": _DRAIN_SECONDS}}}}),
        "securityContext": RESTRICTED if torch else _UNPRIVILEGED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **({"volumeMounts": volume_mounts} if (volume_mounts := [*mounts, *([TMP_MOUNT] if torch else [])]) else {}),
    }


def _command(spec: ModelServiceSpec) -> Body:
    """Return what the container runs: the user's arguments come after ours."""
    match spec.runtime.name:
        case RuntimeName.TORCH:
            return {"args": [*_torch_args(spec), *spec.runtime.args]}
        case RuntimeName.VLLM:
            # The command, too: older images start another program, which takes the model differently.
            return {"command": ["vllm", "serve"], "args": [*_vllm_args(spec), *spec.runtime.args]}
        case RuntimeName.CUSTOM:
            return {"args": [*spec.runtime.args]} if spec.runtime.args else {}


def _vllm_args(spec: ModelServiceSpec) -> list[str]:
    model = f"{MODEL_DIRECTORY}/current" if _is_fetched(spec) else spec.model.uri.removeprefix("file://")
    devices = spec.accelerator.count if spec.accelerator else 1
    return [
        model,
        f"--served-model-name={spec.model.name}",
        f"--port={spec.runtime.port}",
        *([f"--tensor-parallel-size={devices}"] if devices > 1 else []),
    ]


def _torch_args(spec: ModelServiceSpec) -> list[str]:
    return [
        "serve",
        f"{MODEL_DIRECTORY}/current",
        f"--name={spec.model.name}",
        f"--port={spec.runtime.port}",
        f"--metrics-port={TORCH_METRICS_PORT}",
        f"--digest-file={MODEL_DIRECTORY}/digest",
        f"--max-batch-size={spec.serving.max_batch_size}",
        f"--max-batch-delay={spec.serving.max_batch_delay}",
        f"--max-queue={spec.serving.max_queue}",
        f"--request-timeout={spec.serving.request_timeout}",
        # Only where it says something: an image of the user's may be older than the flag.
        *([trust_flag(spec.model.trust)] if spec.model.trust is not Trust.DATA else []),
        *([f"--explain={','.join(spec.explain.methods)}"] if spec.explain.methods else []),
        *([f"--latency-buckets={bounds}"] if (bounds := _latency_buckets(spec)) else []),
        *([f"--precision={spec.precision}"] if spec.precision is not Precision.AUTO else []),
        *([f"--tokens-dir={TOKENS_DIRECTORY}"] if spec.security.auth else []),
        *([_TLS_CERT, f"--tls-key={TLS_DIRECTORY}/tls.key"] if spec.security.tls else []),
    ]


def trust_flag(trust: Trust) -> str:
    """Return how the server is told what a model may do; who has signed it is known once it is fetched."""
    return f"--trust={Trust.DATA if trust is Trust.DATA else Trust.NATIVE}"


def _latency_buckets(spec: ModelServiceSpec) -> str:
    """Return the bounds of the server's duration histograms with the thresholds of the objectives among them."""
    thresholds = [threshold.seconds for threshold in spec.thresholds]
    return ",".join(map(str, sorted({*_BUCKETS, *thresholds}))) if thresholds else ""


def _env(variable: EnvVar) -> Body:
    if variable.value_from is None:
        return {"name": variable.name, "value": variable.value}
    return {"name": variable.name, "valueFrom": variable.value_from.model_dump(by_alias=True, exclude_none=True)}


def server_image(spec: ModelServiceSpec, config: Config) -> str:
    """Return the image with `model-server`: the user's own build where there is one, which may hold the model."""
    own = spec.runtime.image if spec.runtime.name is RuntimeName.TORCH else ""
    return own or config.images.server


def _server_probes(spec: ModelServiceSpec) -> Body:
    match spec.runtime.name:
        case RuntimeName.TORCH:
            return _torch_probes(spec)
        case RuntimeName.VLLM:
            healthy = {"httpGet": {"path": "/health", "port": names.HTTP_PORT}}
            return _probes(spec, healthy, healthy)
        case RuntimeName.CUSTOM:
            return _custom_probes(spec)


def _torch_probes(spec: ModelServiceSpec) -> Body:
    """Health is on the metrics port, so that TLS and tokens of the serving port never stand in its way."""
    ready = {"httpGet": {"path": "/v2/health/ready", "port": names.METRICS_PORT}}
    live = {"httpGet": {"path": "/v2/health/live", "port": names.METRICS_PORT}}
    return _probes(spec, ready, live)


def _custom_probes(spec: ModelServiceSpec) -> Body:
    is_open: Body = {"tcpSocket": {"port": names.HTTP_PORT}}
    ready, live = spec.runtime.readiness_path, spec.runtime.liveness_path
    return _probes(
        spec,
        {"httpGet": {"path": ready, "port": names.HTTP_PORT}} if ready else is_open,
        {"httpGet": {"path": live, "port": names.HTTP_PORT}} if live else None,
    )


def _probes(spec: ModelServiceSpec, ready: Body, live: Body | None) -> Body:
    patience = math.ceil(spec.startup_timeout.seconds)
    return {
        "startupProbe": ready | {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": patience},
        "readinessProbe": ready | {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        **({"livenessProbe": live | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}} if live else {}),
    }


def _resources(spec: ModelServiceSpec, accelerator: _Devices | None) -> Body:
    requests = {name: str(amount) for name, amount in spec.resources.requests.items()}
    limits = {name: str(amount) for name, amount in spec.resources.limits.items()}
    if accelerator is not None and accelerator.kind.resource:  # a limit of an extended resource is its request, too
        limits |= {accelerator.kind.resource: str(accelerator.count)}
    return {**({"requests": requests} if requests else {}), **({"limits": limits} if limits else {})}


# -- where the pod runs


@dataclass(frozen=True, slots=True)
class _Devices:
    """So many devices of a kind."""

    kind: AcceleratorClass
    count: int


def _class_of(wanted: Accelerator | None, config: Config) -> _Devices | None:
    if wanted is None:
        return None
    if wanted.resource:
        return _Devices(AcceleratorClass(resource=wanted.resource), wanted.count)
    if wanted.class_ not in config.accelerators:
        known = ", ".join(sorted(config.accelerators)) or "none"
        raise UnknownClassError(
            f'spec.accelerator.class "{wanted.class_}" is not defined; the administrator\'s classes are: {known} '
            "(values.yaml: accelerators)."
        )
    return _Devices(config.accelerators[wanted.class_], wanted.count)


def _placement(accelerator: _Devices | None) -> Body:
    if accelerator is None:
        return {}
    kind = accelerator.kind
    return {
        **({"nodeSelector": dict(kind.node_selector)} if kind.node_selector else {}),
        **({"tolerations": [dict(each) for each in kind.tolerations]} if kind.tolerations else {}),
        **({"runtimeClassName": kind.runtime_class_name} if kind.runtime_class_name else {}),
    }


def _grace_seconds(spec: ModelServiceSpec) -> int:
    """Long enough to drain and to finish the longest request, with some air."""
    longest = spec.serving.request_timeout.seconds if spec.runtime.name is RuntimeName.TORCH else 30
    return math.ceil(_DRAIN_SECONDS + longest) + 15


# -- volumes

_MODEL_VOLUME = "model"
_MODEL_MOUNT: Body = {"name": _MODEL_VOLUME, "mountPath": MODEL_DIRECTORY}
TMP_MOUNT: Body = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - the pod's own
_SHM_MOUNT: Body = {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 - as above


def _is_fetched(spec: ModelServiceSpec) -> bool:
    """A model in the image of another server is where the user put it; only that container could see it."""
    return spec.runtime.name is RuntimeName.TORCH or not spec.model.uri.startswith("file:")


def source_claim(uri: str) -> str:
    """Return the claim that a uri names; empty for one of another kind."""
    scheme, _, place = uri.partition("://")
    return place.split("/", 1)[0] if scheme == "pvc" else ""


def _volumes(spec: ModelServiceSpec) -> list[Body]:
    volumes: list[Body] = [{"name": "tmp", "emptyDir": {}}]
    if spec.runtime.name is RuntimeName.VLLM:  # its processes meet there; a container's own has 64 MB
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory"}})
    if _is_fetched(spec):
        volumes.append({"name": _MODEL_VOLUME, "emptyDir": {}})
    if claim := source_claim(spec.model.uri):
        volumes.append({"name": "source", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    if spec.model.cache_claim_ref is not None:
        claim = spec.model.cache_claim_ref.name
        volumes.append({"name": "cache", "persistentVolumeClaim": {"claimName": claim}})
    if (reference := spec.model.ca_config_map_ref) is not None:
        # Optional: a missing volume would hold the pod without a word in its status; fetch says what is missing.
        volumes.append({"name": "ca", "configMap": {"name": reference.name, "optional": True}})
    # Optional for the same reason: the server says what is missing, and serves nothing without it.
    if spec.security.auth:
        volumes.append(_secret("tokens", spec.security.auth.tokens_secret_ref))
    if spec.security.tls:
        volumes.append(_secret("tls", spec.security.tls.secret_ref))
    return volumes


def _secret(volume: str, reference: SecretReference) -> Body:
    return {"name": volume, "secret": {"secretName": reference.name, "optional": True}}


def _source_mounts(spec: ModelServiceSpec) -> list[Body]:
    mount = {"name": "source", "mountPath": SOURCE_DIRECTORY, "readOnly": True}
    return [mount] if source_claim(spec.model.uri) else []


def _ca_mounts(spec: ModelServiceSpec) -> list[Body]:
    has_ca = spec.model.ca_config_map_ref is not None
    return [{"name": "ca", "mountPath": CA_DIRECTORY, "readOnly": True}] if has_ca else []


def _cache_mounts(spec: ModelServiceSpec) -> list[Body]:
    return [{"name": "cache", "mountPath": CACHE_DIRECTORY}] if spec.model.cache_claim_ref else []


def _cache_group(spec: ModelServiceSpec) -> Body:
    """Let the fetching user write to a volume that is new, and do not go through one that is full."""
    return {"fsGroup": _USER, "fsGroupChangePolicy": "OnRootMismatch"} if spec.model.cache_claim_ref else {}


def _secret_mounts(spec: ModelServiceSpec) -> list[Body]:
    """Mount whole folders: a file mounted by itself would stay as it was when the Secret changes."""
    wanted = {"tokens": (TOKENS_DIRECTORY, spec.security.auth), "tls": (TLS_DIRECTORY, spec.security.tls)}
    return [
        {"name": name, "mountPath": path, "readOnly": True} for name, (path, declared) in wanted.items() if declared
    ]


# -- the overlay's limits


def _check(pod: Mapping[str, Any], rendered: Mapping[str, Any]) -> None:
    """Hold the overlay to what every user is held to, and to what Services, probes and the pin of the model rest on."""
    path = "spec.podTemplate.spec"
    server = next((each for each in pod.get("containers") or () if each["name"] == names.SERVER), None)
    if server is None:
        raise BadOverlayError(f"{path} removes the container {names.SERVER}, which serves the model; keep it.")
    if fetches(rendered) and not fetches(pod):
        raise BadOverlayError(
            f"{path} removes the init container {names.FETCH}, which brings and checks the model; keep it."
        )
    ours = {port["name"]: port["containerPort"] for port in rendered["containers"][0]["ports"]}
    kept = {port.get("name"): port["containerPort"] for port in server.get("ports") or ()}
    if moved := [name for name in ours if kept.get(name) != ours[name]]:
        raise BadOverlayError(
            f"{path} removes or renames port {moved[0]} of container {names.SERVER}; keep it, its number is set in "
            "spec.runtime."
        )
    for container in _containers(pod):
        for port in container.get("ports") or ():
            if container is not server and port.get("name") in ours:
                raise BadOverlayError(
                    f"{path}: container {container['name']} names a port {port['name']} as {names.SERVER} does; the "
                    "Service finds its port by that name, choose another."
                )
        for variable in container.get("env") or ():
            if variable["name"].startswith("NVIDIA_"):
                raise BadOverlayError(
                    f"{path}: container {container['name']} sets {variable['name']}; NVIDIA_* variables would hand "
                    "out GPUs past the scheduler, ask for devices in spec.accelerator."
                )


def _check_signed(pod: Mapping[str, Any], rendered: Mapping[str, Any]) -> None:
    """Hold the overlay off what checks the signature, and off the files once it was checked."""
    path = "spec.podTemplate.spec"
    if _checker(pod) != _checker(rendered):
        raise BadOverlayError(
            f"{path} changes the init container {names.FETCH} or its volume, which check the signature that "
            "spec.model.trust asks for; change no more than the resources."
        )
    for container in _containers(pod):
        for mount in container.get("volumeMounts") or ():
            if container["name"] != names.FETCH and mount["name"] == _MODEL_VOLUME and not mount.get("readOnly"):
                raise BadOverlayError(
                    f"{path} lets container {container['name']} write to the volume {_MODEL_VOLUME}, which holds what "
                    "was signed; mount it with readOnly: true."
                )


def _checker(pod: Mapping[str, Any]) -> list[Body]:
    """Return what brings a signed model and checks it, as often as the pod has it."""
    fetch = [each | {"resources": {}} for each in pod.get("initContainers") or () if each["name"] == names.FETCH]
    return fetch + [volume for volume in pod["volumes"] if volume["name"] == _MODEL_VOLUME]


def _containers(pod: Mapping[str, Any]) -> Iterator[Body]:
    yield from pod.get("initContainers") or ()
    yield from pod["containers"]
