"""The cluster port against a real API server, through a proxy where a fault is needed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from controlplane.conftest import kubectl_of
from controlplane.proxy import Proxy
from modelservice_operator.kube.credentials import Credentials
from modelservice_operator.kube.errors import (
    Conflict,
    FieldConflict,
    Forbidden,
    Invalid,
    NotFound,
    SchemaError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from modelservice_operator.kube.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    MODEL_SERVICES,
    SERVICES,
    Body,
    Resource,
)
from modelservice_operator.kube.session import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cluster.controlplane import ControlPlane


def config_map(namespace: str, name: str = "settings", **data: str) -> Body:
    metadata = {"namespace": namespace, "name": name, "labels": {"kind": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def bound(manifest: Body, **conditions: str) -> Body:
    return manifest | {"metadata": manifest["metadata"] | conditions}


@pytest.fixture
async def proxy(control_plane: ControlPlane) -> AsyncIterator[Proxy]:
    async with Proxy(control_plane).running() as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: Proxy, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The cluster as it is seen through the proxy."""
    cluster = Cluster(proxy.credentials(tmp_path))
    yield cluster
    await cluster.close()


async def test_an_applied_object_can_be_read_and_deleted(cluster: Cluster, namespace: str) -> None:
    applied = await cluster.apply(CONFIG_MAPS, config_map(namespace, a="1"), force=False)
    read = await cluster.get(CONFIG_MAPS, namespace, "settings")
    assert read["data"] == {"a": "1"}
    assert read["metadata"]["managedFields"][0]["manager"] == "modelservice-operator"
    await cluster.delete(CONFIG_MAPS, namespace, "settings", uid=applied["metadata"]["uid"])
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, namespace, "settings")


async def test_deleting_what_is_gone_is_fine_and_deleting_another_one_is_not(cluster: Cluster, namespace: str) -> None:
    await cluster.delete(CONFIG_MAPS, namespace, "settings", uid="gone")
    await cluster.apply(CONFIG_MAPS, config_map(namespace), force=False)
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, namespace, "settings", uid="another")


async def test_a_dry_run_changes_nothing(cluster: Cluster, namespace: str) -> None:
    answer = await cluster.apply(CONFIG_MAPS, config_map(namespace, a="1"), force=False, dry_run=True)
    assert answer["data"] == {"a": "1"}
    assert (await cluster.list(CONFIG_MAPS, namespace=namespace, selector="kind=test")).items == []


async def test_an_apply_can_be_bound_to_a_version(cluster: Cluster, namespace: str) -> None:
    first = await cluster.apply(CONFIG_MAPS, config_map(namespace, a="1"), force=True)
    version = first["metadata"]["resourceVersion"]
    await cluster.apply(CONFIG_MAPS, bound(config_map(namespace, a="2"), resourceVersion=version), force=True)
    with pytest.raises(Conflict):
        await cluster.apply(CONFIG_MAPS, bound(config_map(namespace, a="3"), resourceVersion=version), force=True)


@pytest.mark.parametrize("exists", [True, False])
async def test_an_apply_that_is_bound_to_an_object_hits_no_other(
    cluster: Cluster, namespace: str, *, exists: bool
) -> None:
    if exists:
        await cluster.apply(CONFIG_MAPS, config_map(namespace, a="1"), force=True)
    with pytest.raises(Conflict):
        await cluster.apply(CONFIG_MAPS, bound(config_map(namespace, a="2"), uid="another"), force=True)


async def test_an_apply_that_is_bound_to_the_version_before_the_first_only_creates(
    cluster: Cluster, namespace: str
) -> None:
    manifest = bound(config_map(namespace, a="1"), resourceVersion="1")
    made = await cluster.apply(CONFIG_MAPS, manifest, force=False)
    for ours in (manifest, bound(config_map(namespace, b="2"), resourceVersion="1")):
        with pytest.raises(Conflict):
            await cluster.apply(CONFIG_MAPS, ours, force=False)
    assert await cluster.get(CONFIG_MAPS, namespace, "settings") == made


async def test_an_apply_without_force_takes_no_fields_from_others(cluster: Cluster, namespace: str) -> None:
    theirs = json.loads(json.dumps(config_map(namespace, a="theirs")))
    await cluster._request(
        "apply",
        CONFIG_MAPS,
        "PATCH",
        CONFIG_MAPS.path(namespace, "settings"),
        params={"fieldManager": "somebody"},
        body=theirs,
        content_type="application/apply-patch+yaml",
    )
    with pytest.raises(FieldConflict, match="somebody"):
        await cluster.apply(CONFIG_MAPS, config_map(namespace, a="ours"), force=False)


async def test_what_does_not_fit_the_schema_is_terminal_although_the_server_calls_it_its_own_fault(
    cluster: Cluster, namespace: str
) -> None:
    with pytest.raises(SchemaError, match="field not declared in schema"):
        await cluster.apply(CONFIG_MAPS, config_map(namespace) | {"dat": {}}, force=True)


async def test_an_invalid_object_is_refused_in_the_servers_words(cluster: Cluster, namespace: str) -> None:
    metadata = {"namespace": namespace, "name": "s"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 99999}]}}
    with pytest.raises(Invalid, match="must be between 1 and 65535"):
        await cluster.apply(SERVICES, service, force=True)


async def test_a_list_is_read_page_by_page_and_its_items_say_what_they_are(cluster: Cluster, namespace: str) -> None:
    for name in "abcde":
        await cluster.apply(CONFIG_MAPS, config_map(namespace, name), force=True)
    listing = await cluster.list(CONFIG_MAPS, namespace=namespace, selector="kind=test", limit=2)
    assert [item["metadata"]["name"] for item in listing.items] == list("abcde")
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
    assert int(listing.resource_version) >= int(listing.items[-1]["metadata"]["resourceVersion"])


async def test_a_watch_tells_what_happened_after_the_list(cluster: Cluster, namespace: str) -> None:
    listing = await cluster.list(CONFIG_MAPS, namespace=namespace)
    first = await cluster.apply(CONFIG_MAPS, config_map(namespace, a="1"), force=True)
    await cluster.apply(CONFIG_MAPS, config_map(namespace, a="2"), force=True)
    await cluster.delete(CONFIG_MAPS, namespace, "settings", uid=first["metadata"]["uid"])
    seen = []
    async with cluster.watch(
        CONFIG_MAPS, resource_version=listing.resource_version, namespace=namespace, selector="kind=test"
    ) as events:
        async for kind, body in events:
            seen.append((kind, body["data"]["a"]))
            if kind == "DELETED":
                break
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


async def test_a_silent_watch_ends_so_that_a_new_one_is_opened(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = aiohttp.ClientTimeout(total=None, sock_read=0.2)
    monkeypatch.setattr("modelservice_operator.kube.session._WATCH", limits)
    listing = await cluster.list(CONFIG_MAPS, namespace=namespace)
    async with cluster.watch(
        CONFIG_MAPS, resource_version=listing.resource_version, namespace=namespace, selector="kind=test"
    ) as events:
        assert [event async for event in events] == []


async def test_a_kind_is_served_or_not(cluster: Cluster) -> None:
    assert await cluster.verbs(MODEL_SERVICES) >= {"list", "watch", "patch"}
    assert not await cluster.verbs(Resource("modelservice.dev", "v1alpha1", "Other", "others"))
    assert not await cluster.verbs(Resource("unheard.of", "v1", "Other", "others"))
    with pytest.raises(NotFound):
        await cluster.list(Resource("unheard.of", "v1", "Other", "others"))


async def test_of_some_kinds_only_the_metadata_is_read(cluster: Cluster) -> None:
    listing = await cluster.list(CUSTOM_RESOURCE_DEFINITIONS)
    [ours] = [body for body in listing.items if body["metadata"]["name"] == str(MODEL_SERVICES)]
    assert "spec" not in ours
    async with cluster.watch(CUSTOM_RESOURCE_DEFINITIONS, resource_version="0") as events:
        async for kind, body in events:
            if body["metadata"]["name"] == str(MODEL_SERVICES):
                assert (kind, "spec" in body) == ("ADDED", False)
                break


async def test_a_throttled_request_comes_back_when_the_server_says(behind: Cluster, proxy: Proxy) -> None:
    proxy.answer_next(429, times=2, headers={"Retry-After": "0"})
    await behind.list(CONFIG_MAPS)
    assert len(proxy.requests) == 3


async def test_a_request_that_is_always_throttled_ends_with_what_the_server_asks_for(
    behind: Cluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("modelservice_operator.kube.session.asyncio.sleep", note)
    proxy.answer_next(429, times=4, headers={"Retry-After": "7"})
    with pytest.raises(Throttled) as error:
        await behind.list(CONFIG_MAPS)
    assert error.value.retry_after == 7
    assert waits == [7, 7, 7]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_that_cannot_is_unavailable(behind: Cluster, proxy: Proxy, status: int) -> None:
    proxy.answer_next(status)
    with pytest.raises(Unavailable):
        await behind.list(CONFIG_MAPS)


async def test_a_connection_that_breaks_is_unavailable(behind: Cluster, proxy: Proxy) -> None:
    listing = await behind.list(CONFIG_MAPS)
    with pytest.raises(Unavailable):  # noqa: PT012 (the stream must be open before it can break)
        async with behind.watch(CONFIG_MAPS, resource_version=listing.resource_version) as events:
            proxy.cut_streams()
            await anext(events)


async def test_a_server_that_is_not_there_is_unavailable(control_plane: ControlPlane, tmp_path: Path) -> None:
    async with Proxy(control_plane).running() as proxy:
        cluster = Cluster(proxy.credentials(tmp_path))
    with pytest.raises(Unavailable, match="The API server did not answer"):
        await cluster.list(CONFIG_MAPS)
    await cluster.close()


async def test_refused_credentials_are_loaded_anew_once(control_plane: ControlPlane, tmp_path: Path) -> None:
    good = Credentials.load(str(control_plane.kubeconfig))
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "expired"}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    loaded = []

    def reload() -> Credentials:
        loaded.append(good)
        return good

    cluster = Cluster(Credentials.load(str(tmp_path / "kubeconfig")), reload)
    await asyncio.gather(*(cluster.list(CONFIG_MAPS) for _ in range(5)))
    assert loaded == [good]
    await cluster.close()


async def test_credentials_that_stay_refused_are_told_as_such(control_plane: ControlPlane, tmp_path: Path) -> None:
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "expired"}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    bad = Credentials.load(str(tmp_path / "kubeconfig"))
    cluster = Cluster(bad, lambda: bad)
    with pytest.raises(Unauthorized):
        await cluster.list(CONFIG_MAPS)
    await cluster.close()


async def test_who_may_not_is_told_so_in_the_servers_words(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    kubectl = kubectl_of(control_plane)
    kubectl("create", "serviceaccount", "nobody", f"--namespace={namespace}")
    token = kubectl("create", "token", "nobody", f"--namespace={namespace}").strip()
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    cluster = Cluster(Credentials.load(str(tmp_path / "kubeconfig")))
    with pytest.raises(Forbidden, match='cannot list resource "configmaps"'):
        await cluster.list(CONFIG_MAPS)
    await cluster.close()


async def test_status_and_scale_are_written_through_their_subresources(cluster: Cluster, namespace: str) -> None:
    metadata = {"namespace": namespace, "name": "digits"}
    spec = {"model": {"uri": "pvc://models/digits"}, "replicas": 1}
    service = {"apiVersion": MODEL_SERVICES.api_version, "kind": "ModelService", "metadata": metadata, "spec": spec}
    made = await cluster.apply(MODEL_SERVICES, service, force=True)
    answer = await cluster.patch_status(MODEL_SERVICES, namespace, "digits", {"status": {"replicas": 1}})
    assert answer["status"]["replicas"] == 1
    assert answer["metadata"]["generation"] == made["metadata"]["generation"]

    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "status": {"replicas": 2}}
    with pytest.raises(Conflict):
        await cluster.patch_status(MODEL_SERVICES, namespace, "digits", stale)

    late = {"metadata": stale["metadata"], "spec": {"replicas": 2}}
    with pytest.raises(Conflict):
        await cluster.patch_scale(MODEL_SERVICES, namespace, "digits", late)
    scale = await cluster.patch_scale(MODEL_SERVICES, namespace, "digits", {"spec": {"replicas": 3}})
    assert scale["kind"] == "Scale"
    assert (await cluster.get(MODEL_SERVICES, namespace, "digits"))["spec"]["replicas"] == 3
