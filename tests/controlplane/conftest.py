"""A real etcd and API server for the tests of this folder; each test has a namespace of its own.

Most share one, without controllers. Who needs these, and pods that come up, asks for `services`: what these stand on is
made for each file anew. The namespaces are never deleted (nobody would finish that): the control plane is thrown away.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from cluster import binaries, ports
from cluster.controlplane import ControlPlane
from controlplane.kubelet import Kubelet, serving
from controlplane.operator_process import OperatorProcess
from controlplane.services import Services
from modelservice_operator.api import crd
from modelservice_operator.kube.resources import MODEL_SERVICES
from modelservice_operator.kube.session import Cluster
from waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from modelservice_operator.kube.resources import Body

    Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One control plane for all tests, with our CRD. Tests that break something start their own."""
    with ControlPlane(tmp_path_factory.mktemp("controlplane") / "cluster") as plane:
        install_crd(plane)
        yield plane


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """`kubectl("get", "pods", stdin=...)` as the cluster's admin; returns what it prints."""
    return kubectl_of(control_plane)


@pytest.fixture
def namespace(kubectl: Kubectl) -> str:
    return new_namespace(kubectl)


@pytest.fixture
async def cluster(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """The operator's own port to the API server, as the cluster's admin."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    cluster = await Cluster.connect()
    yield cluster
    await cluster.close()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of the file's own, with real controllers, a real scheduler and our CRD."""
    with ControlPlane(tmp_path_factory.mktemp("plane") / "cluster", controllers=True) as plane:
        install_crd(plane)
        yield plane


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that looks after all of it and knows one class of accelerator."""
    directory = tmp_path_factory.mktemp("operator")
    operator = OperatorProcess(kubectl_of(plane), plane.kubeconfig, directory, ports.free(1)[0])
    operator.configure(**{"nvidia-t4": {"resource": "nvidia.com/gpu"}})
    operator.start()
    yield operator
    assert operator.stop() == 0


@pytest.fixture(scope="module")
def kubelet(plane: ControlPlane) -> Iterator[Kubelet]:
    """Its only node, which has four devices."""
    with Kubelet(plane.kubeconfig, "n1", **{"nvidia.com/gpu": "4"}).running() as kubelet:
        yield kubelet


@pytest.fixture
def services(plane: ControlPlane, operator: OperatorProcess, kubelet: Kubelet) -> Iterator[Services]:
    """ModelServices of a namespace of the test's own; their pods serve until the test has the kubelet say otherwise."""
    del operator
    kubelet.state_of = lambda _: serving()
    kubectl = kubectl_of(plane)
    services = Services(kubectl, new_namespace(kubectl))
    until(lambda: services.all("serviceaccounts"), "the namespace is usable")
    yield services
    services.kubectl("delete", "modelservices", "--all")  # the next test counts writes, and needs the devices


def new_namespace(kubectl: Kubectl) -> str:
    name = f"test-{uuid.uuid4().hex[:10]}"
    kubectl("create", "namespace", name)
    return name


async def created(cluster: Cluster, namespace: str, name: str) -> Body:
    """Create a ModelService."""
    body: dict[str, Any] = {"apiVersion": MODEL_SERVICES.api_version, "kind": MODEL_SERVICES.kind}
    metadata = {"name": name, "namespace": namespace}
    return await cluster.create(MODEL_SERVICES, body | {"metadata": metadata, "spec": {"model": {"uri": "file:///m"}}})


def kubectl_of(plane: ControlPlane) -> Kubectl:
    program = binaries.path("kubectl")
    environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig)}

    def run(*arguments: str, stdin: str | dict[str, Any] | None = None) -> str:
        text = json.dumps(stdin) if isinstance(stdin, dict) else stdin
        done = subprocess.run(
            [program, *arguments], input=text, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return run


def install_crd(plane: ControlPlane) -> None:
    kubectl = kubectl_of(plane)
    kubectl("apply", "--server-side", "-f", "-", stdin=crd.as_yaml())
    until_served(kubectl)


def until_served(kubectl: Kubectl) -> None:
    """Wait until every definition is served. `kubectl wait` fails at once where one has no status yet."""
    until(lambda: kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=5s"), "kinds are served")


def remove_definition(kubectl: Kubectl, name: str) -> None:
    """Delete a definition, if it is there, with all that is defined by it."""
    kubectl("delete", "crd", name, "--ignore-not-found", "--wait=false")
    until_gone(kubectl, name)


def until_gone(kubectl: Kubectl, name: str) -> None:
    """Wait until a definition that was deleted is gone.

    The API server's finalizer may stumble over its own note in the status. Then it looks again after five minutes, or
    as soon as anything else changes (crd_finalizer.go of 1.35: a conflict is expected to come with an event).
    """
    changes = itertools.count()

    def is_gone() -> bool:
        try:
            kubectl("wait", "--for=delete", f"crd/{name}", "--timeout=5s")
        except AssertionError:
            kubectl("annotate", "--overwrite", "crd", name, f"look={next(changes)}")
            raise
        return True

    until(is_gone, f"{name} is gone")
