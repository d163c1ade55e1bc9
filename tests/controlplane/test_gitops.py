"""A ModelService that is kept in git: nothing that the operator or an autoscaler writes is drift to any tool."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster import binaries
from controlplane.chart import Helm
from controlplane.kubelet import Kubelet, crashing, serving
from controlplane.test_tool_health import argo, kstatus
from waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.controlplane import ControlPlane
    from controlplane.operator_process import OperatorProcess
    from controlplane.services import Services

# As people write it: defaults spelt out, amounts in odd notation, and what a tool for GitOps adds.
MANIFEST: dict[str, Any] = {
    "apiVersion": "modelservice.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {
        "name": "m",
        "labels": {"app.kubernetes.io/instance": "models", "kustomize.toolkit.fluxcd.io/name": "models"},
        "annotations": {"argocd.argoproj.io/tracking-id": "models:modelservice.dev/ModelService:ml/m"},
    },
    "spec": {
        "model": {"uri": "file:///models/m", "trust": "Data"},
        "runtime": {"name": "Torch", "args": ["--drain-delay=1s"], "env": [{"name": "A", "value": "1"}]},
        "serving": {"requestTimeout": "10000ms"},
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"memory": "2048Mi"}},
        "startupTimeout": "600s",
        "podTemplate": {"metadata": {"labels": {"team": "nlp"}}, "spec": {"nodeSelector": {"kubernetes.io/os": None}}},
    },
}
MODES = pytest.mark.parametrize("mode", [(), ("--server-side",)], ids=["client-side", "server-side"])


def manifest(**spec: object) -> dict[str, Any]:
    return MANIFEST | {"spec": MANIFEST["spec"] | spec}


def drift(plane: ControlPlane, services: Services, wanted: dict[str, Any], *mode: str) -> str:
    """Return what `kubectl diff` says an apply would change."""
    command = [binaries.path("kubectl"), f"--namespace={services.namespace}", "diff", "--filename=-", *mode]
    environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig)}
    done = subprocess.run(
        command, input=json.dumps(wanted), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == (1 if done.stdout else 0), done.stderr
    return done.stdout


def version(services: Services) -> tuple[str, int]:
    metadata = services.get("modelservice")["metadata"]
    return metadata["resourceVersion"], metadata["generation"]


def scale(services: Services, replicas: int) -> None:
    services.kubectl("scale", "modelservice", "m", f"--replicas={replicas}")
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == replicas, f"{replicas} pods serve")
    services.until("Ready", "True")


@MODES
def test_what_the_operator_and_an_autoscaler_write_is_no_drift(
    plane: ControlPlane, services: Services, mode: tuple[str, ...]
) -> None:
    services.kubectl("apply", "-f", "-", *mode, stdin=MANIFEST)
    services.until("Ready", "True")
    assert services.get("modelservice")["spec"]["replicas"] == 1  # the operator's
    assert drift(plane, services, MANIFEST, *mode) == ""
    scale(services, 3)
    assert drift(plane, services, MANIFEST, *mode) == ""
    before = version(services)
    services.kubectl("apply", "-f", "-", *mode, stdin=MANIFEST)  # server-side: nobody's fields are in the way
    assert version(services) == before
    assert services.get("modelservice")["spec"]["replicas"] == 3
    changed = manifest(startupTimeout="5m")
    assert "+  startupTimeout: 5m" in drift(plane, services, changed, *mode)
    services.kubectl("apply", "-f", "-", *mode, stdin=changed)
    services.until("Ready", "True")
    assert services.get("modelservice")["spec"]["replicas"] == 3
    assert drift(plane, services, changed, *mode) == ""


@MODES
def test_a_number_that_git_holds_is_git_s(plane: ControlPlane, services: Services, mode: tuple[str, ...]) -> None:
    wanted = manifest(replicas=2)
    services.kubectl("apply", "-f", "-", *mode, stdin=wanted)
    services.until("Ready", "True")
    before = version(services)
    services.kubectl("apply", "-f", "-", *mode, stdin=wanted)
    assert version(services) == before
    assert drift(plane, services, wanted, *mode) == ""
    scale(services, 3)
    force = ["--force-conflicts"] if mode else []  # as Argo CD and Flux do; people are told who else wrote it
    assert "+  replicas: 2" in drift(plane, services, wanted, *mode, *force)


def test_the_operator_owns_the_status_alone_so_git_may_take_the_number_over_and_let_it_go(services: Services) -> None:
    def owned() -> set[str]:
        shown = services.kubectl("get", "modelservice", "m", "--output=json", "--show-managed-fields")
        entries = json.loads(shown)["metadata"]["managedFields"]
        return {part for each in entries if each["manager"] == "modelservice-operator" for part in each["fieldsV1"]}

    services.kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    services.until("Ready", "True")
    assert services.get("modelservice")["spec"]["replicas"] == 1
    assert owned() == {"f:status"}
    services.kubectl("apply", "--server-side", "-f", "-", stdin=manifest(replicas=2))
    until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "both pods serve")
    services.kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    until(lambda: services.get("modelservice")["spec"].get("replicas") == 2, "the number that runs is written back")
    assert owned() == {"f:status"}


def test_an_upgrade_of_a_release_leaves_the_number_alone_and_changes_what_changed(
    plane: ControlPlane, services: Services, tmp_path: Path
) -> None:
    chart, helm = tmp_path / "chart", Helm(tmp_path, plane.kubeconfig)
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: models, version: 0.1.0}")

    def upgrade(wanted: dict[str, Any]) -> None:
        (chart / "templates/m.yaml").write_text(yaml.safe_dump(wanted))
        helm("upgrade", "--install", "models", chart, f"--namespace={services.namespace}")

    upgrade(MANIFEST)
    services.until("Ready", "True")
    scale(services, 3)
    _, before = version(services)
    upgrade(MANIFEST)
    assert version(services)[1] == before
    upgrade(manifest(startupTimeout="5m"))
    assert version(services)[1] == before + 1
    services.until("Ready", "True")
    spec = services.get("modelservice")["spec"]
    assert (spec["replicas"], spec["startupTimeout"]) == (3, "5m")


def test_tools_follow_a_life(services: Services, operator: OperatorProcess, kubelet: Kubelet, tmp_path: Path) -> None:
    def health() -> tuple[str, str]:
        service = services.get("modelservice")
        return kstatus(service), argo(service, tmp_path)["status"]

    assert operator.stop() == 0
    services.apply()
    assert health() == ("InProgress", "Progressing")  # nobody has seen it
    kubelet.state_of = lambda _: None
    operator.start()
    services.until("Ready", "False", "ModelLoading")
    assert health() == ("InProgress", "Progressing")
    kubelet.state_of = lambda _: serving()
    services.until("Ready", "True")
    assert health() == ("Current", "Healthy")

    services.apply(accelerator={"resource": "nvidia.com/gpu", "count": 5})
    services.until("Ready", "False", "WaitingForCapacity")
    assert health() == ("InProgress", "Progressing")  # waiting is no failure
    kubelet.state_of = lambda labels: crashing("no such file") if "bad" in labels else serving()
    services.apply(podTemplate={"metadata": {"labels": {"bad": "yes"}}})
    services.until("Ready", "False", "CrashLoop")
    assert health() == ("InProgress", "Progressing")
    services.apply(rollout={"paused": True}, runtime={"args": ["--x"]})
    services.until("Ready", "False", "Paused")
    assert health() == ("InProgress", "Suspended")
    services.apply(accelerator={"class": "none-such"})
    services.until("Stalled", "True")
    assert health() == ("Failed", "Degraded")
    services.apply()
    services.until("Ready", "True")
    assert health() == ("Current", "Healthy")

    services.kubectl(
        "patch", "modelservice", "m", "--type=merge", "-p", '{"metadata": {"finalizers": ["test.dev/held"]}}'
    )
    services.kubectl("delete", "modelservice", "m", "--wait=false")
    assert health()[0] == "Terminating"

    def hold(*finalizers: str) -> None:
        patch = {"metadata": {"finalizers": finalizers}}
        services.kubectl("patch", "modelservice", "m", "--type=merge", "--patch", json.dumps(patch))

    hold("test.dev/held")
    services.kubectl("delete", "modelservice", "m", "--wait=false")
    assert health()[0] == "Terminating"
    hold()
