"""Optional APIs on a real API server: they come and go, and not everyone may see or use them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cluster.access import Access
from controlplane.conftest import remove_definition, until_gone
from modelservice_operator.engine import apis
from modelservice_operator.engine.apis import OptionalApis
from modelservice_operator.kube.backoff import Backoff
from modelservice_operator.kube.credentials import Credentials
from modelservice_operator.kube.errors import NotFound
from modelservice_operator.kube.informer import Informer
from modelservice_operator.kube.resources import Resource
from modelservice_operator.kube.session import Cluster
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from cluster.controlplane import ControlPlane
    from modelservice_operator.kube.resources import Body, Name

    Kubectl = Callable[..., str]

WIDGETS = Resource("test.modelservice.dev", "v1", "Widget", "widgets")
QUICKLY = Backoff(first_seconds=0.05, most_seconds=0.2)
NOT_SERVED = "the cluster does not serve it"


class Store:
    """A listener that has heard of objects, and forgets them when it is told to."""

    def __init__(self) -> None:
        self.objects: set[str] = set()

    def listed(self, resource: Resource, bodies: Iterable[Body]) -> None:
        for body in bodies:
            self.changed(resource, body)

    def replaced(self, resource: Resource, names: set[Name], resource_version: str, namespace: str | None) -> None:
        del resource, resource_version, namespace
        self.objects &= {name for _, name in names}

    def changed(self, _: Resource, body: Body) -> None:
        self.objects.add(body["metadata"]["name"])

    def deleted(self, _: Resource, body: Body) -> None:
        self.objects.discard(body["metadata"]["name"])

    def forget(self, _: Resource) -> None:
        self.objects = set()


@pytest.fixture
def definition(kubectl: Kubectl) -> Iterator[Callable[[], None]]:
    """Installs the API of widgets; it is away before and after the test."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    body: dict[str, Any] = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": str(WIDGETS)},
        "spec": {
            "group": WIDGETS.group,
            "names": {"kind": WIDGETS.kind, "plural": WIDGETS.plural},
            "scope": "Namespaced",
            "versions": [version],
        },
    }

    def install() -> None:
        kubectl("create", "--filename=-", stdin=body)

    yield install
    remove_definition(kubectl, str(WIDGETS))


@pytest.fixture
async def limited(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """The cluster for an account that has no rights yet."""
    kubectl("create", "serviceaccount", "operator", f"--namespace={namespace}")
    token = kubectl("create", "token", "operator", f"--namespace={namespace}").strip()
    replace(Access.read(control_plane.kubeconfig), token=token).write(tmp_path / "kubeconfig")
    cluster = Cluster(Credentials.load(str(tmp_path / "kubeconfig")))
    yield cluster
    await cluster.close()


@asynccontextmanager
async def following(cluster: Cluster, store: Store, namespace: str | None = None) -> AsyncIterator[OptionalApis]:
    found = OptionalApis(
        cluster,
        [WIDGETS],
        informers=lambda resource: [Informer(cluster, resource, store, namespace=namespace, backoff=QUICKLY)],
        forget=store.forget,
        changed=lambda: None,
    )
    task = asyncio.create_task(found.run())
    try:
        async with asyncio.timeout(60):
            await found.known.wait()
        yield found
        assert not task.done(), task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


def widget(namespace: str, name: str, **metadata: object) -> Body:
    metadata |= {"namespace": namespace, "name": name}
    return {"apiVersion": WIDGETS.api_version, "kind": WIDGETS.kind, "metadata": metadata}


def grant(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "role", "operator", f"--namespace={namespace}", f"--resource={WIDGETS}", "--verb=*")
    account = f"--serviceaccount={namespace}:operator"
    kubectl("create", "rolebinding", "operator", f"--namespace={namespace}", "--role=operator", account)


async def test_an_api_is_followed_from_its_definition_to_its_end(
    cluster: Cluster, kubectl: Kubectl, definition: Callable[[], None], namespace: str
) -> None:
    store = Store()
    async with following(cluster, store) as found:
        for name in ("a", "b"):  # and once more
            assert found.why_not(WIDGETS, namespace) == NOT_SERVED
            await asyncio.to_thread(definition)
            await eventually(lambda: not found.why_not(WIDGETS, namespace))
            await asyncio.to_thread(kubectl, "create", "--filename=-", stdin=widget(namespace, name))
            await eventually(lambda wanted=name: store.objects == {wanted})
            await asyncio.to_thread(remove_definition, kubectl, str(WIDGETS))
            await eventually(lambda: found.why_not(WIDGETS, namespace) == NOT_SERVED and not store.objects)


async def test_an_api_on_its_way_out_takes_no_objects_and_cannot_be_used(
    cluster: Cluster, kubectl: Kubectl, definition: Callable[[], None], namespace: str
) -> None:
    definition()
    async with following(cluster, Store()) as found:
        await eventually(lambda: not found.why_not(WIDGETS, namespace))
        held = widget(namespace, "held", finalizers=["example.com/held"])
        await asyncio.to_thread(kubectl, "create", "--filename=-", stdin=held)
        await asyncio.to_thread(kubectl, "delete", "crd", str(WIDGETS), "--wait=false")
        await eventually(lambda: found.why_not(WIDGETS, namespace) == NOT_SERVED)
        with pytest.raises(NotFound, match="create not allowed while custom resource definition is terminating"):
            await cluster.apply(WIDGETS, widget(namespace, "late"), force=True)
        free = '--patch={"metadata": {"finalizers": null}}'
        await asyncio.to_thread(
            kubectl, f"--namespace={namespace}", "patch", str(WIDGETS), "held", "--type=merge", free
        )
        await asyncio.to_thread(until_gone, kubectl, str(WIDGETS))


async def test_who_may_not_watch_definitions_asks_now_and_then(
    limited: Cluster,
    kubectl: Kubectl,
    definition: Callable[[], None],
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apis, "_ASK_SECONDS", 0.2)
    async with following(limited, Store(), namespace) as found:
        assert found.why_not(WIDGETS, namespace) == NOT_SERVED
        await asyncio.to_thread(definition)
        await asyncio.to_thread(grant, kubectl, namespace)
        await eventually(lambda: not found.why_not(WIDGETS, namespace))
        await asyncio.to_thread(remove_definition, kubectl, str(WIDGETS))
        await eventually(lambda: found.why_not(WIDGETS, namespace) == NOT_SERVED)


async def test_a_kind_that_is_forbidden_is_said_to_be_until_it_is_allowed(
    limited: Cluster,
    kubectl: Kubectl,
    definition: Callable[[], None],
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apis, "_ASK_SECONDS", 0.2)  # discovery may lag behind the definition
    definition()
    async with following(limited, Store(), namespace) as found:
        await eventually(lambda: f"{WIDGETS} in {namespace} is forbidden: " in found.why_not(WIDGETS, namespace))
        await asyncio.to_thread(grant, kubectl, namespace)
        await eventually(lambda: not found.why_not(WIDGETS, namespace))
