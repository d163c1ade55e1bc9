"""All that the chart and the operator make, rendered without a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import yaml

from controlplane.chart import ROOT, Helm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Object = dict[str, Any]

# The chart with everything that it has, for the cluster and for some namespaces.
VALUES = (
    [f"--set=selfMonitoring.{part}.enabled=true" for part in ("serviceMonitor", "rules", "dashboard")],
    ["--set=watch.namespaces={team-a}"],
)
# Models of each kind beside those of the examples.
MODELS: dict[str, Object] = {
    "plain": {},
    "secured": {"security": {"tls": {"secretRef": {"name": "t"}}, "auth": {"tokensSecretRef": {"name": "s"}}}},
    "placed": {"accelerator": {"resource": "nvidia.com/gpu", "count": 1}, "replicas": 2},
    "measured": {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}},
}


def of_the_chart(tmp_path: Path) -> Iterator[Object]:
    """Return what the chart renders."""
    helm = Helm(tmp_path / "helm")
    for values in VALUES:
        yield from helm.all(*values)


def of_models(tmp_path: Path) -> Iterator[Object]:
    """Return the children of the examples and of the models above."""
    metadata = {"namespace": "ml"}
    own = [
        {
            "apiVersion": "modelservice.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": metadata | {"name": name},
            "spec": {"model": {"uri": "pvc://models/m"}} | spec,
        }
        for name, spec in MODELS.items()
    ]
    file, settings = tmp_path / "models.yaml", tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump_all(own))
    settings.write_text(json.dumps({"images": {"server": "localhost/modelservice/model-server:dev"}}))
    files = [file, *(ROOT / f"examples/{name}.yaml" for name in ("digits", "nlp-model", "autoscaled"))]
    command = [sys.executable, "-m", "modelservice_operator.cli", "render", f"--config={settings}", "--namespace=ml"]
    done = subprocess.run([*command, *(f"-f{each}" for each in files)], capture_output=True, text=True, check=True)
    return iter(yaml.safe_load_all(done.stdout))
