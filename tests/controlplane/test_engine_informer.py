"""The informer against a real API server: broken streams, gaps, restarts of the server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cluster.controlplane import ControlPlane
from controlplane.conftest import kubectl_of
from controlplane.proxy import Proxy
from modelservice_operator.kube.backoff import Backoff
from modelservice_operator.kube.credentials import Credentials
from modelservice_operator.kube.informer import Informer, State
from modelservice_operator.kube.resources import CONFIG_MAPS, Body, Name, Resource
from modelservice_operator.kube.session import Cluster
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    import pytest

QUICKLY = Backoff(first_seconds=0.05, most_seconds=0.2)


class Known:
    """A listener that knows what a store would know, and how it came to know it."""

    def __init__(self) -> None:
        self.objects: dict[str, str] = {}
        self.lists = 0
        self.deletions: list[str] = []

    def listed(self, resource: Resource, bodies: Iterable[Body]) -> None:
        for body in bodies:
            self.changed(resource, body)

    def replaced(self, resource: Resource, names: set[Name], resource_version: str, namespace: str | None) -> None:
        del resource, resource_version
        self.objects = {name: value for name, value in self.objects.items() if (namespace, name) in names}
        self.lists += 1

    def changed(self, _: Resource, body: Body) -> None:
        self.objects[body["metadata"]["name"]] = body["data"]["a"]

    def deleted(self, _: Resource, body: Body) -> None:
        del self.objects[body["metadata"]["name"]]
        self.deletions.append(body["metadata"]["name"])


def config_map(namespace: str, name: str, value: str = "1") -> Body:
    metadata = {"namespace": namespace, "name": name, "labels": {"kind": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": value}}


async def apply(cluster: Cluster, namespace: str, name: str, value: str = "1") -> Body:
    return await cluster.apply(CONFIG_MAPS, config_map(namespace, name, value), force=True)


async def delete(cluster: Cluster, namespace: str, name: str) -> None:
    body = await cluster.get(CONFIG_MAPS, namespace, name)
    await cluster.delete(CONFIG_MAPS, namespace, name, uid=body["metadata"]["uid"])


def informer(cluster: Cluster, known: Known, namespace: str, resource: Resource = CONFIG_MAPS) -> Informer:
    return Informer(cluster, resource, known, selector="kind=test", namespace=namespace, backoff=QUICKLY)


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[None]:
    task = asyncio.create_task(informer.run())
    try:
        yield
        assert not task.done(), task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_lists_then_follows(cluster: Cluster, namespace: str) -> None:
    await apply(cluster, namespace, "a")
    known = Known()
    follower = informer(cluster, known, namespace)
    async with running(follower):
        await follower.listed.wait()
        assert known.objects == {"a": "1"}
        await apply(cluster, namespace, "a", "2")
        await apply(cluster, namespace, "b")
        await eventually(lambda: known.objects == {"a": "2", "b": "1"})
        await delete(cluster, namespace, "a")
        await eventually(lambda: known.objects == {"b": "1"})
    assert (known.lists, known.deletions) == (1, ["a"])


async def test_a_broken_stream_is_resumed_where_it_was(
    cluster: Cluster, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    known = Known()
    async with Proxy(control_plane).running() as proxy:
        behind = Cluster(proxy.credentials(tmp_path))
        follower = informer(behind, known, namespace)
        async with running(follower):
            await follower.listed.wait()
            await apply(cluster, namespace, "a")
            await eventually(lambda: known.objects == {"a": "1"})
            proxy.answer_next(503, times=3)
            proxy.cut_streams()
            await delete(cluster, namespace, "a")
            await apply(cluster, namespace, "b")
            await eventually(lambda: known.objects == {"b": "1"})
            await eventually(lambda: follower.state is State.WATCHING)
        await behind.close()
    assert (known.lists, known.deletions) == (1, ["a"])


async def test_what_was_deleted_in_a_gap_that_the_server_has_forgotten_is_known_from_the_next_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server that has been restarted knows no history: to resume from before is 410.
    with ControlPlane(tmp_path / "cluster") as plane:
        kubectl_of(plane)("create", "namespace", "ml")
        monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
        cluster = await Cluster.connect()
        known = Known()
        follower = informer(cluster, known, "ml")
        for name in ("stays", "goes"):
            await apply(cluster, "ml", name)
        async with running(follower):
            await eventually(lambda: known.objects == {"stays": "1", "goes": "1"})
        await delete(cluster, "ml", "goes")
        await apply(cluster, "ml", "stays", "2")
        plane.kill_api()
        async with running(follower):
            await eventually(lambda: follower.state is State.RECONNECTING)
            await asyncio.to_thread(plane.start_api)
            await eventually(lambda: known.objects == {"stays": "2"})
            await eventually(lambda: follower.state is State.WATCHING)
        await cluster.close()
    assert (known.lists, known.deletions) == (2, [])


async def test_a_kind_that_is_absent_or_forbidden_is_a_state_that_may_end(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    known = Known()
    async with Proxy(control_plane).running() as proxy:
        behind = Cluster(proxy.credentials(tmp_path))
        for status, state in ((404, State.ABSENT), (403, State.FORBIDDEN)):
            proxy.answer_next(status)
            follower = informer(behind, known, namespace)
            follower._backoff = Backoff(first_seconds=1, most_seconds=1)
            async with running(follower):
                await eventually(lambda f=follower, s=state: f.state is s)
                assert follower.words == "a fault"
                assert not follower.listed.is_set()
                await follower.listed.wait()
                await eventually(lambda f=follower: f.state is State.WATCHING)
        await behind.close()


async def test_a_server_that_ends_each_watch_at_once_is_not_stormed(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with Proxy(control_plane).running() as proxy:
        behind = Cluster(proxy.credentials(tmp_path))
        follower = informer(behind, Known(), namespace)
        follower._backoff = Backoff(first_seconds=60, most_seconds=60)
        async with running(follower):
            await follower.listed.wait()
            await eventually(lambda: any("watch" in request.query for request in proxy.requests) and proxy.streams)
            proxy.answer_next(200, times=100)
            proxy.cut_streams()
            await eventually(lambda: follower.state is State.RECONNECTING)
            assert len(proxy.requests) <= 4
        await behind.close()


async def test_it_knows_how_long_the_server_has_been_silent(control_plane: ControlPlane, namespace: str) -> None:
    now = 100.0
    cluster = Cluster(Credentials.load(str(control_plane.kubeconfig)))
    follower = Informer(cluster, CONFIG_MAPS, Known(), selector="kind=test", namespace=namespace, clock=lambda: now)
    async with running(follower):
        await follower.listed.wait()
        now = 150.0
        assert follower.silent_seconds == 50
        await apply(cluster, namespace, "a")
        await eventually(lambda: follower.silent_seconds == 0)
    await cluster.close()
