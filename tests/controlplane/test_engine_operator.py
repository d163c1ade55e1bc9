"""What ends the operator's process: a watch of the services that hears nothing, or that has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from cluster import ports
from modelservice_operator import names
from modelservice_operator.engine import operator
from modelservice_operator.engine.operator import DeadPartError, Kinds, Operator
from modelservice_operator.kube.resources import CONFIG_MAPS, MODEL_SERVICES

if TYPE_CHECKING:
    from modelservice_operator.engine.operator import Deliver, Watch
    from modelservice_operator.engine.store import Key
    from modelservice_operator.kube.session import Cluster

KINDS = Kinds(services=MODEL_SERVICES, children=(CONFIG_MAPS,), optional=(), label=names.NAME)


class Idle:
    """Finds nothing to be done for any service."""

    async def __call__(self, key: Key) -> None:
        del key

    def gauges(self) -> str:
        return ""


async def life(cluster: Cluster, namespace: str, watch: Watch) -> None:
    """Run an operator in a namespace that has a service, until it ends by itself."""
    body: dict[str, Any] = {"apiVersion": MODEL_SERVICES.api_version, "kind": MODEL_SERVICES.kind}
    metadata = {"name": "m", "namespace": namespace}
    await cluster.create(MODEL_SERVICES, body | {"metadata": metadata, "spec": {"model": {"uri": "file:///m"}}})
    listen = "127.0.0.1", ports.free(1)[0]
    subject = Operator(cluster, KINDS, watch=watch, domain=lambda *_: Idle(), namespaces=[namespace], listen=listen)
    async with asyncio.timeout(60):
        await subject.run()


async def test_a_watch_that_hears_nothing_of_what_a_list_has_found_ends_the_operator(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(_: Deliver) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(operator, "_BLIND_AFTER_SECONDS", 0.1)
    with pytest.raises(DeadPartError, match="has delivered nothing for"):
        await life(cluster, namespace, blind)


async def test_a_watch_that_ends_ends_the_operator(cluster: Cluster, namespace: str) -> None:
    async def short(_: Deliver) -> None:
        return

    with pytest.raises(DeadPartError, match="short ended"):
        await life(cluster, namespace, short)


async def test_a_watch_that_dies_ends_the_operator_with_its_error(cluster: Cluster, namespace: str) -> None:
    async def forbidden(_: Deliver) -> None:
        raise PermissionError("modelservices is forbidden")

    with pytest.raises(PermissionError, match="modelservices is forbidden"):
        await life(cluster, namespace, forbidden)
