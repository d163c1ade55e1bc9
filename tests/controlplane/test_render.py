"""What is rendered without a cluster is what the operator makes in one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster import binaries, ports
from cluster.controlplane import ControlPlane
from cluster.definitions import definition
from controlplane.conftest import install_crd, kubectl_of, until_served
from controlplane.operator_process import OperatorProcess
from modelservice_operator.cli import KINDS
from modelservice_operator.engine.containment import differences
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Body = dict[str, Any]

DIGEST = "sha256:" + "1" * 64
CUSTOM = {"name": "Custom", "image": "example/server:1"}
PROMISE = {"objectives": [{"name": "availability", "target": "99.9%"}]}
SECRET = {"name": "alerts", "key": "k"}
SPECS: dict[str, Body] = {
    "plain": {},
    "pinned": {"model": {"uri": "https://example.com/m.tar", "digest": DIGEST, "name": "other"}},
    "custom": {"runtime": CUSTOM},
    "measured": {"runtime": CUSTOM | {"metricsPath": "/m", "metricsPort": 9000, "env": [{"name": "A", "value": "b"}]}},
    "secured": {"security": {"tls": {"secretRef": {"name": "t"}}, "auth": {"tokensSecretRef": {"name": "s"}}}},
    "promising": {"slo": PROMISE},
    "alerting": {
        "slo": PROMISE,
        "monitoring": {
            "alerting": {
                "receiver": {
                    "webhook": {"urlSecretRef": SECRET},
                    "slack": {"urlSecretRef": SECRET, "channel": "#nlp"},
                    "pagerduty": {"routingKeySecretRef": SECRET},
                }
            }
        },
    },
    "scaled": {"autoscaling": {"engine": "HPA", "maxReplicas": 4, "inflightPerReplica": 8}},
    "scaled-by-keda": {"autoscaling": {"engine": "KEDA", "maxReplicas": 4, "inflightPerReplica": 8}},
    "shut-off": {"security": {"networkPolicy": {"egress": "Restricted", "allowFrom": [{"podSelector": {}}]}}},
    "wide-open": {"security": {"networkPolicy": {"enabled": False}}},
    "placed": {"accelerator": {"class": "nvidia-t4", "count": 2}, "resources": {"limits": {"memory": "1024Mi"}}},
    "laid-over": {
        "podTemplate": {
            "metadata": {"labels": {"team": "nlp"}, "annotations": {"a": "b"}},
            "spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "server", "env": [{"name": "X"}]}]},
        },
        "service": {"type": "NodePort", "annotations": {"c": "d"}},
    },
}


def manifest(name: str, spec: Body) -> Body:
    metadata: Body = {"name": name, "namespace": "default"}
    if name == "plain":
        metadata["annotations"] = {"modelservice.dev/restart": "now"}
    body = {"apiVersion": "modelservice.dev/v1alpha1", "kind": "ModelService", "metadata": metadata}
    return body | {"spec": {"model": {"uri": "pvc://models/m"}, "replicas": 0} | spec}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OperatorProcess, dict[tuple[str, str], Body]]]:
    """All children that the operator has made of the specs, whatever their kind."""
    directory = tmp_path_factory.mktemp("render")
    with ControlPlane(directory / "cluster") as plane:
        install_crd(plane)
        kubectl = kubectl_of(plane)
        for kind in KINDS.optional:
            kubectl("apply", "--server-side", f"--filename={definition(kind.plural, kind.group)}")
        until_served(kubectl)
        operator = OperatorProcess(kubectl, plane.kubeconfig, directory, ports.free(1)[0])
        operator.configure(**{"nvidia-t4": {"resource": "nvidia.com/gpu", "nodeSelector": {"gpu": "t4"}}})
        operator.set(prometheus={"url": "http://127.0.0.1:9"})  # whom KEDA would ask
        items = [manifest(name, spec) for name, spec in SPECS.items()]
        kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
        operator.start()
        kubectl("wait", "--for=condition=Ready", "modelservices", "--all", "--timeout=60s")
        until(operator.is_idle, "the operator has nothing more to do")
        kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
        found = json.loads(kubectl("get", ",".join(kinds), "-o", "json"))["items"]
        yield (
            operator,
            {
                (each["kind"], each["metadata"]["name"]): each
                for each in found
                if any(owner["kind"] == "ModelService" for owner in each["metadata"].get("ownerReferences") or ())
            },
        )
        operator.stop()


def render(operator: OperatorProcess, *options: str) -> str:
    text = yaml.safe_dump_all(manifest(name, spec) for name, spec in SPECS.items())
    command = [sys.executable, "-m", "modelservice_operator.cli", "render", f"--config={operator.config}", "-f", "-"]
    return subprocess.run([*command, *options], input=text, check=True, capture_output=True, text=True).stdout


def test_what_is_rendered_without_a_cluster_is_what_the_operator_makes(
    made: tuple[OperatorProcess, dict[tuple[str, str], Body]],
) -> None:
    operator, live = made
    rendered = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(render(operator))}
    assert rendered.keys() == live.keys()
    assert {kind.kind for kind in KINDS.optional} <= {kind for kind, _ in rendered}
    differing = {child: differences(wanted, live[child]) for child, wanted in rendered.items()}
    assert not any(differing.values()), differing


def test_a_plain_prometheus_takes_what_is_rendered_for_it(
    made: tuple[OperatorProcess, dict[tuple[str, str], Body]], tmp_path: Path
) -> None:
    file, rules = tmp_path / "prometheus.yaml", tmp_path / "rules.yaml"
    rules.write_text(render(made[0], "--for", "prometheus-rules"))
    file.write_text("rule_files: [rules.yaml]\n" + render(made[0], "--for", "prometheus").removeprefix("---\n"))
    done = subprocess.run(
        [binaries.path("promtool"), "check", "config", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"rules.yaml\n  SUCCESS: [1-9]\d* rules found", done.stdout), done.stdout
    jobs = yaml.safe_load(file.read_text())["scrape_configs"]
    assert {job["job_name"] for job in jobs} == {f"default/{name}-metrics" for name in SPECS.keys() - {"custom"}}
