"""A watch of the services that misses something, that hears nothing, or that has ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cluster import ports
from cluster.access import Access
from controlplane.conftest import created
from modelservice_operator import names
from modelservice_operator.engine import operator
from modelservice_operator.engine.operator import DeadPartError, Kinds, Operator
from modelservice_operator.kube.errors import NotFound
from modelservice_operator.kube.resources import CONFIG_MAPS, MODEL_SERVICES
from modelservice_operator.kube.session import Cluster
from modelservice_operator.watch import Watch as KopfWatch
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster.controlplane import ControlPlane
    from modelservice_operator.engine.operator import Deliver, Watch
    from modelservice_operator.engine.store import Key, Store

    Kubectl = Callable[..., str]

KINDS = Kinds(services=MODEL_SERVICES, children=(CONFIG_MAPS,), optional=(), label=names.NAME)


class Mourner:
    """Waits until a service is gone from the store; until then it may fail as a write to something absent does."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.mourns = asyncio.Event()

    def about(self, store: Store, *_: object) -> Mourner:
        self.store = store
        return self

    async def __call__(self, key: Key) -> None:
        if self.store.service(key) is None:
            self.mourns.set()
        elif self.fails:
            raise NotFound("not found")

    async def run(self, _wake: object) -> None:
        await asyncio.Event().wait()

    def gauges(self) -> str:
        return ""


async def life(cluster: Cluster, namespace: str, watch: Watch, domain: Mourner | None = None) -> None:
    """Run an operator in a namespace that has a service until it ends by itself."""
    await created(cluster, namespace, "m")
    subject = Operator(
        cluster,
        KINDS,
        watch=watch,
        domain=(domain or Mourner()).about,
        namespaces=[namespace],
        listen=("127.0.0.1", ports.free(1)[0]),
    )
    async with asyncio.timeout(60):
        await subject.run()


class Seen(Exception):  # noqa: N818 (no error: it ends an operator whose test has seen all)
    """What was waited for has happened."""


async def test_a_service_deleted_while_the_watch_began_anew_is_soon_gone(cluster: Cluster, namespace: str) -> None:
    survivor, mourner = await created(cluster, namespace, "survivor"), Mourner()

    async def with_a_gap(deliver: Deliver, _: object) -> None:
        await deleted(cluster, namespace)
        deliver(None, survivor)
        await mourner.mourns.wait()
        raise Seen

    with pytest.raises(Seen):
        await life(cluster, namespace, with_a_gap, mourner)


async def test_a_service_that_turns_out_to_be_absent_is_soon_gone(cluster: Cluster, namespace: str) -> None:
    mourner = Mourner(fails=True)

    async def silent(*_: object) -> None:
        await deleted(cluster, namespace)
        await mourner.mourns.wait()
        raise Seen

    with pytest.raises(Seen):
        await life(cluster, namespace, silent, mourner)


async def deleted(cluster: Cluster, namespace: str) -> None:
    service = await cluster.get(MODEL_SERVICES, namespace, "m")
    await cluster.delete(MODEL_SERVICES, namespace, "m", uid=service["metadata"]["uid"])


async def test_a_watch_that_hears_nothing_of_what_a_list_has_found_ends_the_operator(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(operator, "_BLIND_AFTER_SECONDS", 0.1)
    with pytest.raises(DeadPartError, match="has delivered nothing for"):
        await life(cluster, namespace, blind)


async def test_a_watch_that_ends_ends_the_operator(cluster: Cluster, namespace: str) -> None:
    async def short(*_: object) -> None:
        return

    with pytest.raises(DeadPartError, match="_watch_services ended"):
        await life(cluster, namespace, short)


async def test_a_watch_that_dies_ends_the_operator_with_its_error(cluster: Cluster, namespace: str) -> None:
    async def forbidden(*_: object) -> None:
        raise PermissionError("modelservices is forbidden")

    with pytest.raises(PermissionError, match="modelservices is forbidden"):
        await life(cluster, namespace, forbidden)


class Guest:
    """Knows the services that it was told to look after."""

    def __init__(self) -> None:
        self.knows: set[tuple[str, str]] = set()

    def about(self, store: Store, *_: object) -> Guest:
        self.store = store
        return self

    async def __call__(self, key: Key) -> None:
        (self.knows.discard if self.store.service(key) is None else self.knows.add)((key.namespace, key.name))

    async def run(self, _wake: object) -> None:
        await asyncio.Event().wait()

    def gauges(self) -> str:
        return ""


@pytest.fixture
def guests(control_plane: ControlPlane, kubectl: Kubectl, namespace: str, tmp_path: Path) -> Path:
    """Return a kubeconfig of an account that has no rights yet."""
    kubectl("create", "serviceaccount", "guest", f"--namespace={namespace}")
    token = kubectl("create", "token", "guest", f"--namespace={namespace}").strip()
    replace(Access.read(control_plane.kubeconfig), token=token).write(tmp_path / "guest.kubeconfig")
    return tmp_path / "guest.kubeconfig"


async def test_a_namespace_that_is_closed_holds_up_no_other_and_is_looked_after_when_it_opens(
    cluster: Cluster, kubectl: Kubectl, namespace: str, guests: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, closes = f"{namespace}-stays", f"{namespace}-closes"
    for each in (stays, closes):
        kubectl("create", "namespace", each)
        kubectl("create", "role", "guest", f"--namespace={each}", "--resource=modelservices,configmaps", "--verb=*")
        await created(cluster, each, "m")
    binding = ("rolebinding", "guest")
    bound = (*binding, "--role=guest", f"--serviceaccount={namespace}:guest")

    monkeypatch.setenv("KUBECONFIG", str(guests))  # which kopf reads, too
    for seconds in ("_SERVICES_LIST_SECONDS", "_CLOSED_LIST_SECONDS"):
        monkeypatch.setattr(operator, seconds, 0.5)
    limited, guest = await Cluster.connect(), Guest()
    subject = Operator(
        limited,
        KINDS,
        watch=KopfWatch(MODEL_SERVICES),
        domain=guest.about,
        namespaces=[stays, closes],
        listen=("127.0.0.1", ports.free(1)[0]),
    )
    kubectl("create", *bound, f"--namespace={stays}")
    life = asyncio.create_task(subject.run())
    try:
        await eventually(lambda: guest.knows == {(stays, "m")})
        assert not subject._unready()
        await asyncio.to_thread(kubectl, "create", *bound, f"--namespace={closes}")
        await eventually(lambda: guest.knows == {(stays, "m"), (closes, "m")})
        await created(cluster, closes, "other")
        await eventually(lambda: (closes, "other") in guest.knows)

        await asyncio.to_thread(kubectl, "delete", *binding, f"--namespace={closes}")
        await eventually(lambda: guest.knows == {(stays, "m")})
        await created(cluster, stays, "other")
        await eventually(lambda: guest.knows == {(stays, "m"), (stays, "other")})
        assert not subject._unready()

        await asyncio.to_thread(kubectl, "delete", *binding, f"--namespace={stays}")
        await eventually(lambda: guest.knows == set())
        assert "is forbidden" in subject._unready()[0]
        subject.stop()
        await life
    finally:
        life.cancel()
        await asyncio.wait([life])
        await limited.close()
