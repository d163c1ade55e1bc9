"""`helm upgrade` from the version before this one, with services that run: chart, definition and operator are replaced.

previous/ holds what that version was: its chart as `helm package` makes it, and its operator as an archive that Python
runs. CONTRIBUTING.md says when and how they are renewed.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster import ports
from cluster.controlplane import ControlPlane
from controlplane.chart import CHART, CRD, Helm
from controlplane.conftest import kubectl_of, until_served
from controlplane.kubelet import Kubelet
from controlplane.operator_process import ACCOUNT, NAMESPACE, OperatorProcess
from controlplane.services import Services
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    Object = dict[str, Any]

PREVIOUS = Path(__file__).parent / "previous"
[PREVIOUS_CHART] = PREVIOUS.glob("modelservice-operator-*.tgz")
PREVIOUS_PROGRAM = ["env", f"PYTHONPATH={PREVIOUS / 'modelservice_operator.zip'}", sys.executable]

# What shapes pods, and what does not, in each of its parts.
SERVICES: dict[str, Object] = {
    "plain": {},
    "many": {"replicas": 2, "serving": {"maxBatchSize": 8, "requestTimeout": "2s"}, "precision": "Float32"},
    "placed": {
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "podTemplate": {"metadata": {"labels": {"team": "nlp"}}, "spec": {"terminationGracePeriodSeconds": 45}},
        "explain": {"methods": ["IntegratedGradients"]},
    },
    "own": {"runtime": {"name": "Custom", "image": "example/server:1", "args": ["--fast"], "metricsPath": "/m"}},
    "gpus": {"accelerator": {"class": "nvidia-t4", "count": 1}, "startupTimeout": "20m"},
}
MAY_APPEAR = {"TemplateOutdated", "history"}  # a condition about the new version, and what it reads from the ledger


def test_an_upgrade_with_helm_restarts_no_pod_and_loses_neither_field_nor_status_and_can_be_undone(
    tmp_path: Path,
) -> None:
    with (
        ControlPlane(tmp_path / "cluster", controllers=True) as plane,
        Kubelet(plane.kubeconfig, "n1", **{"nvidia.com/gpu": "4"}).running(),
        ExitStack() as ends,
    ):
        kubectl, helm = kubectl_of(plane), Helm(tmp_path / "helm", plane.kubeconfig)
        helm("install", ACCOUNT, PREVIOUS_CHART, f"--namespace={NAMESPACE}", "--create-namespace", "--set=replicas=0")
        until_served(kubectl)
        old_definition = definition(kubectl)
        services = Services(kubectl, "default")
        until(lambda: services.all("serviceaccounts"), "the namespace is usable")

        old = operator(plane, tmp_path / "old", *PREVIOUS_PROGRAM)
        ends.callback(old.kill)
        old.start()
        for name, spec in SERVICES.items():
            services.apply(name, **spec)
            services.kubectl("annotate", "modelservice", name, "note=mine")
        for name in SERVICES:
            services.until("Ready", "True", name=name)
        until(old.is_idle, "the old operator has looked at everything")
        pods, deployments, before = uids(services), services.template_versions(), written(services)

        # The definition comes first, so for a while the old operator meets what it does not know.
        helm("upgrade", ACCOUNT, CHART, f"--namespace={NAMESPACE}", "--set=replicas=0")
        assert definition(kubectl) != old_definition
        services.kubectl("scale", "modelservice", "many", "--replicas=3")
        until(lambda: services.get("modelservice", "many")["status"]["readyReplicas"] == 3, "a third pod serves")
        services.kubectl("scale", "modelservice", "many", "--replicas=2")
        until(lambda: len(uids(services)) == len(pods), "it is gone again")
        until(lambda: services.get("modelservice", "many")["status"]["replicas"] == 2, "that is told")
        until(old.is_idle, "the old operator has looked at everything")
        before["many"] = written(services)["many"]
        pods = uids(services)
        assert old.stop() == 0
        new = operator(plane, tmp_path / "new", sys.executable)
        ends.callback(new.kill)
        new.start()
        until(lambda: new.metric("leading") == 1 and new.is_idle(), "the new operator has looked at everything")
        for name, service in written(services).items():
            for field, value in before[name]["spec"].items():
                assert service["spec"][field] == value, (name, field)
            assert service["status"] == before[name]["status"], name
            assert service["metadata"] == before[name]["metadata"]

        # What a user applies again is still the same, with the new defaults in the definition.
        for name, spec in SERVICES.items():
            services.apply(name, **spec)
        services.kubectl("annotate", "modelservices", "--all", "look=again")
        for name in SERVICES:
            services.until("Ready", "True", name=name)
        until(new.is_idle, "the new operator has looked at everything")
        assert uids(services) == pods
        after = services.template_versions()
        assert {name: after.get(name) for name in deployments if "many" not in name} == {
            name: version for name, version in deployments.items() if "many" not in name
        }

        # And back.
        assert new.stop() == 0
        helm("rollback", ACCOUNT, "1", f"--namespace={NAMESPACE}")
        assert definition(kubectl) == old_definition
        old.start()
        until(lambda: old.metric("leading") == 1 and old.is_idle(), "the old operator has looked at everything")
        for name in SERVICES:
            services.until("Ready", "True", name=name)
        assert uids(services) == pods
        assert old.stop() == 0

        # Without an operator and its chart, pods go on.
        helm("uninstall", ACCOUNT, f"--namespace={NAMESPACE}")
        assert uids(services) == pods


def operator(plane: ControlPlane, directory: Path, *program: str) -> OperatorProcess:
    """Give an operator of the release that is installed."""
    directory.mkdir()
    process = OperatorProcess(
        kubectl_of(plane),
        plane.kubeconfig,
        directory,
        ports.free(1)[0],
        program=[*program, "-m", "modelservice_operator.cli"],
        elects=True,
        is_installed=True,
    )
    process.configure(**{"nvidia-t4": {"resource": "nvidia.com/gpu"}})
    return process


def definition(kubectl: Callable[..., str]) -> Object:
    found: Object = json.loads(kubectl("get", "crd", CRD, "--output=json"))["spec"]
    return found


def uids(services: Services) -> set[str]:
    """Name the pods that serve: one that was restarted, or made anew, has another name here."""
    return {
        f"{pod['metadata']['uid']} {sum(each['restartCount'] for each in pod['status']['containerStatuses'])}"
        for pod in services.all("pods")
        if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("containerStatuses")
    }


def written(services: Services) -> dict[str, Object]:
    """Return what people and the operator have written into each service, but for what an upgrade may add."""
    found = {}
    for service in services.all("modelservices"):
        conditions = [each for each in service["status"]["conditions"] if each["type"] not in MAY_APPEAR]
        told = {field: value for field, value in service["status"].items() if field not in MAY_APPEAR}
        found[service["metadata"]["name"]] = {
            "metadata": {key: service["metadata"].get(key) for key in ("uid", "annotations", "labels", "finalizers")},
            "spec": service["spec"],
            "status": told | {"conditions": conditions},
        }
    return found
