"""What evaluates a revision: a Job that asks it about a data set, and a Service that has the pods of that one alone."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.render.children import child_metadata
from modelservice_operator.render.pod import (
    RESTRICTED,
    SOURCE_DIRECTORY,
    TLS_DIRECTORY,
    TMP_MOUNT,
    TOKENS_DIRECTORY,
    credentials,
    server_image,
    serving_port,
    source_claim,
    speaks_tls,
)
from modelservice_operator.rollout.gates import SATURATION

if TYPE_CHECKING:
    from modelservice_operator.api.types import Evaluation, ModelServiceSpec
    from modelservice_operator.config import Config
    from modelservice_operator.rollout.situation import Entry

Body = dict[str, Any]

_TAKES_SECONDS = 900  # the evaluation itself gives up after ten minutes, with a sentence
_DIRECTORIES = {"source": SOURCE_DIRECTORY, "tokens": TOKENS_DIRECTORY, "tls": TLS_DIRECTORY}
_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}}


def revision_service(namespace: str, service: str, spec: ModelServiceSpec, entry: Entry) -> Body:
    """Return the Service that has the ready pods of one revision."""
    labels = {names.NAME: service, names.REVISION: entry.name}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(namespace, service, entry.name, {names.REVISION: entry.name}),
        "spec": {
            "type": "ClusterIP",
            "selector": labels,
            "ports": [
                {
                    "name": names.HTTP_PORT,
                    "port": serving_port(entry.template, spec.runtime.port),
                    "targetPort": names.HTTP_PORT,
                    "protocol": "TCP",
                }
            ],
        },
    }


def evaluation_job(namespace: str, service: str, spec: ModelServiceSpec, entry: Entry, config: Config) -> Body:
    """Return the Job; its pod has no label of the service's, so that no Service takes it for one of the model's."""
    assert spec.evaluation is not None  # noqa: S101 - nobody asks otherwise
    name, volumes = names.evaluation(entry.name), _volumes(spec.evaluation, entry)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": child_metadata(
            namespace, service, name, {names.REVISION: entry.name}, {names.EVALUATION: digest_of(spec.evaluation)}
        ),
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": _TAKES_SECONDS,
            "template": {
                "metadata": {"labels": {names.EVALUATES: service, names.COMPONENT: "evaluation"}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "restartPolicy": "Never",
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [_container(namespace, service, spec, entry, config, volumes=volumes)],
                    "volumes": volumes,
                },
            },
        },
    }


def digest_of(evaluation: Evaluation) -> str:
    """Return what tells one evaluation from another."""
    text = json.dumps(evaluation.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _container(
    namespace: str, service: str, spec: ModelServiceSpec, entry: Entry, config: Config, *, volumes: list[Body]
) -> Body:
    evaluation = spec.evaluation
    assert evaluation is not None  # noqa: S101 - as above
    dataset, has_tls = evaluation.dataset, speaks_tls(entry.template)
    scheme, port = "https" if has_tls else "http", serving_port(entry.template, spec.runtime.port)
    variables = credentials(dataset.uri, dataset.credentials_secret_ref)
    arguments = [
        "evaluate",
        dataset.uri,
        f"--url={scheme}://{entry.name}.{namespace}.svc:{port}",
        f"--model={spec.model.name or service}",
        f"--metrics={','.join(_metrics(spec, evaluation))}",
        *([f"--digest={dataset.digest}"] if dataset.digest else []),
        *([f"--tokens-dir={TOKENS_DIRECTORY}"] if any(volume["name"] == "tokens" for volume in volumes) else []),
        *([f"--server-cert={TLS_DIRECTORY}/tls.crt"] if has_tls else []),
    ]
    resources = evaluation.resources.model_dump(mode="json", exclude_defaults=True) or _RESOURCES
    return {
        "name": "evaluate",
        "image": server_image(spec, config),
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        **({"env": variables} if variables else {}),
        "resources": resources,
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            TMP_MOUNT,
            *(
                {"name": volume["name"], "mountPath": _DIRECTORIES[volume["name"]], "readOnly": True}
                for volume in volumes
                if volume["name"] in _DIRECTORIES
            ),
        ],
    }


def _metrics(spec: ModelServiceSpec, evaluation: Evaluation) -> list[str]:
    """Return what is measured: what a revision must reach, and what an autoscaler needs that was given no target."""
    is_to_be_scaled = spec.autoscaling is not None and spec.autoscaling.inflight_per_replica is None
    return [*(metric.name for metric in evaluation.metrics), *([SATURATION] if is_to_be_scaled else [])]


def _volumes(evaluation: Evaluation, entry: Entry) -> list[Body]:
    """Return what is mounted; of the server's Secret its certificate alone, never the key."""
    volumes: list[Body] = [{"name": "tmp", "emptyDir": {}}]
    if claim := source_claim(evaluation.dataset.uri):
        volumes.append({"name": "source", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    for volume in entry.template["spec"].get("volumes") or ():
        if volume["name"] == "tokens":
            volumes.append(volume)
        if volume["name"] == "tls":
            certificate = {"items": [{"key": "tls.crt", "path": "tls.crt"}]}
            volumes.append({"name": "tls", "secret": volume["secret"] | certificate})
    return volumes
