"""An upgrade of the operator that renders pods differently and brings a new field with a default rolls no pod."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import modelservice_operator
from cluster import binaries, ports
from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd, kubectl_of
from controlplane.kubelet import Kubelet
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    Kubectl = Callable[..., str]

# What the next version changes: a field with a default in a block that shapes pods, and what becomes of it in a pod.
NEXT = {
    "api/types.py": (
        "    max_queue: ",
        '    max_padding: Annotated[int, _whole(0, 64)] = 3\n    """Rows of padding."""\n\n    max_queue: ',
    ),
    "render/pod.py": (
        '        f"--max-queue={spec.serving.max_queue}",\n',
        '        f"--max-queue={spec.serving.max_queue}",\n        f"--max-padding={spec.serving.max_padding}",\n',
    ),
}


def next_version(directory: Path) -> list[str]:
    """Make the next version of the operator, and return the command that runs it."""
    package = directory / "modelservice_operator"
    shutil.copytree(Path(modelservice_operator.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in NEXT.items():
        text = (package / name).read_text()
        assert text.count(old) == 1, f"{name} has changed: adapt what the next version changes"
        (package / name).write_text(text.replace(old, new))
    return ["env", f"PYTHONPATH={directory}", sys.executable, "-m", "modelservice_operator.cli"]


def pods(services: Services) -> dict[str, list[str]]:
    """Return the arguments of the server in each pod, by the pod's UID."""
    return {pod["metadata"]["uid"]: pod["spec"]["containers"][0]["args"] for pod in services.all("pods")}


def test_an_upgrade_rolls_no_pod_and_a_restart_that_is_asked_for_rolls_them_through_all_gates(tmp_path: Path) -> None:
    with (
        ControlPlane(tmp_path / "cluster", controllers=True) as plane,
        Kubelet(plane.kubeconfig, "n1").running(),
        ExitStack() as ends,
    ):
        install_crd(plane)
        kubectl, port = kubectl_of(plane), ports.free(1)[0]
        services = Services(kubectl, "default")
        until(lambda: services.all("serviceaccounts"), "the namespace is usable")
        operator = OperatorProcess(kubectl, plane.kubeconfig, tmp_path, port)
        ends.callback(operator.kill)
        operator.start()
        services.apply(replicas=1, serving={"maxBatchSize": 8})
        services.apply("plain")
        for name in ("m", "plain"):
            services.until("Ready", "True", name=name)
        upgraded = next_version(tmp_path)
        kubectl("apply", "--server-side", "-f", "-", stdin=output([*upgraded, "crds"]))
        until(lambda: "maxPadding" in services.get("modelservice")["spec"]["serving"], "the new default is served")
        # Between the two, and after a rollback, the older operator goes on with what it knows.
        services.kubectl("scale", "modelservice", "m", "--replicas=2")
        until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 2, "two pods serve")
        services.until("Ready", "True")
        before, deployments, [revision] = pods(services), services.template_versions(), services.revisions()
        assert operator.stop() == 0
        newer = OperatorProcess(kubectl, plane.kubeconfig, tmp_path, port, program=upgraded)
        ends.callback(newer.kill)
        newer.start()
        outdated = services.until("TemplateOutdated", "True", "RenderedDifferently")
        assert f"Revision {revision['name']} runs the pod template that" in outdated["message"]
        services.until("TemplateOutdated", "True", name="plain")
        until(newer.is_idle, "the newer operator has looked at everything")
        assert newer.writes() == 2  # both statuses
        assert services.get("modelservice")["spec"]["serving"]["maxPadding"] == 3
        assert (pods(services), services.template_versions()) == (before, deployments)
        assert services.condition("Ready")["status"] == "True"
        assert "Current" in output([str(binaries.path("kstatus"))], stdin=json.dumps(services.get("modelservice")))

        # What grows meanwhile runs what the others run, and a default that is written out is no change.
        services.apply(replicas=3, serving={"maxBatchSize": 8, "maxPadding": 3})
        until(lambda: services.get("modelservice")["status"]["readyReplicas"] == 3, "a third pod serves")
        services.until("Ready", "True")
        assert before.keys() < pods(services).keys()
        assert not any("--max-padding=3" in args for args in pods(services).values())

        available = services.condition("Available")
        services.kubectl("annotate", "modelservice", "m", "modelservice.dev/restart=1")
        until(lambda: services.revisions()[0]["name"] != revision["name"], "another revision is stable")
        services.until("Ready", "True")
        until(lambda: len(pods(services)) == 4, "the old pods are gone")
        rendered_anew = {uid for uid, args in pods(services).items() if "--max-padding=3" in args}
        assert len(rendered_anew) == 3
        [plain] = pods(services).keys() - rendered_anew
        assert plain in before
        assert services.condition("TemplateOutdated") == {}
        assert services.condition("Available")["lastTransitionTime"] == available["lastTransitionTime"]
        ledger = services.get("controllerrevision", services.revisions()[0]["name"])["metadata"]["annotations"]
        assert (ledger["modelservice.dev/verdict"], ledger["modelservice.dev/promotion"]) == ("Promoted", "2")
        assert newer.stop() == 0


def output(command: list[str], stdin: str | None = None) -> str:
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout
