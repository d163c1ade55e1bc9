from __future__ import annotations

from typing import TYPE_CHECKING, Never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.engine.store import Key, Store
from modelservice_operator.kube.resources import DEPLOYMENTS, MODEL_SERVICES, PODS

if TYPE_CHECKING:
    from modelservice_operator.kube.resources import Body

KEY = Key("ml", "digits")


def service(version: int, name: str = "digits", **fields: object) -> Body:
    return {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"namespace": "ml", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)},
        **fields,
    }


def deployment(version: int, name: str = "digits-1", owner: str | None = "digits", **fields: object) -> Body:
    labels = {"belongs-to": owner} if owner else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "ml", "name": name, "resourceVersion": str(version), "labels": labels},
        **fields,
    }


@pytest.fixture
def store() -> Store:
    return Store(MODEL_SERVICES, "belongs-to")


def test_services_and_children_are_found_by_key(store: Store) -> None:
    store.upsert(MODEL_SERVICES, service(1, spec={"replicas": 2}))
    store.upsert(DEPLOYMENTS, deployment(2, "digits-b"))
    store.upsert(DEPLOYMENTS, deployment(3, "digits-a"))
    store.upsert(DEPLOYMENTS, deployment(4, "other", owner="other"))
    assert store.service(KEY)["spec"] == {"replicas": 2}
    assert store.services() == [KEY]
    assert list(store.children(KEY)[DEPLOYMENTS]) == ["digits-a", "digits-b"]
    assert store.children(KEY)[PODS] == {}
    assert store.service(Key("ml", "unknown")) is None


def test_what_a_reader_changes_is_not_changed_in_the_store(store: Store) -> None:
    store.upsert(MODEL_SERVICES, service(1, spec={"replicas": 2}))
    store.service(KEY)["spec"]["replicas"] = 3
    assert store.service(KEY)["spec"]["replicas"] == 2


def test_managed_fields_are_not_kept(store: Store) -> None:
    body = service(1)
    body["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    store.upsert(MODEL_SERVICES, body)
    assert "managedFields" not in store.service(KEY)["metadata"]
    assert "managedFields" in body["metadata"]


def test_a_change_touches_the_key_and_a_repetition_does_not(store: Store) -> None:
    assert store.upsert(DEPLOYMENTS, deployment(2)) == {KEY}
    assert store.upsert(DEPLOYMENTS, deployment(2)) == set()
    assert store.upsert(DEPLOYMENTS, deployment(3)) == {KEY}


def test_an_older_version_never_replaces_a_newer_one(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(5, spec="new"))
    assert store.upsert(DEPLOYMENTS, deployment(4, spec="old")) == set()
    assert store.remove(DEPLOYMENTS, deployment(4)) == set()
    assert store.children(KEY)[DEPLOYMENTS]["digits-1"]["spec"] == "new"


def test_a_child_that_moves_to_another_service_touches_both(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(1))
    assert store.upsert(DEPLOYMENTS, deployment(2, owner="other")) == {KEY, Key("ml", "other")}
    assert store.children(KEY)[DEPLOYMENTS] == {}


def test_a_child_without_the_label_belongs_to_nobody(store: Store) -> None:
    assert store.owner_key(deployment(1, owner=None)) is None
    assert store.upsert(DEPLOYMENTS, deployment(1, owner=None)) == set()


def test_a_deleted_object_does_not_come_back_with_a_late_event(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(1))
    assert store.remove(DEPLOYMENTS, deployment(3)) == {KEY}
    assert store.upsert(DEPLOYMENTS, deployment(2)) == set()
    assert store.children(KEY)[DEPLOYMENTS] == {}
    assert store.upsert(DEPLOYMENTS, deployment(4)) == {KEY}


def test_what_a_list_lacks_was_deleted_unless_it_is_newer_than_the_list(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(1, "gone"))
    store.upsert(DEPLOYMENTS, deployment(2, "stays"))
    store.upsert(DEPLOYMENTS, deployment(9, "newer"))
    store.upsert(MODEL_SERVICES, service(1))
    assert store.prune(DEPLOYMENTS, {("ml", "stays")}, "5", None) == {KEY}
    assert list(store.children(KEY)[DEPLOYMENTS]) == ["newer", "stays"]
    assert store.service(KEY) is not None


def test_a_list_of_one_namespace_says_nothing_of_the_others(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(1))
    store.prune(DEPLOYMENTS, set(), "5", "elsewhere")
    assert list(store.children(KEY)[DEPLOYMENTS]) == ["digits-1"]


def test_an_answer_is_read_at_once_and_its_echo_wakes_nobody(store: Store) -> None:
    with store.writing(DEPLOYMENTS, "ml", "digits-1") as write:
        write.answer = deployment(5)
    assert not write.something_else_happened
    assert list(store.children(KEY)[DEPLOYMENTS]) == ["digits-1"]
    assert store.upsert(DEPLOYMENTS, deployment(5)) == set()


def test_an_echo_that_overtakes_its_answer_wakes_nobody(store: Store) -> None:
    with store.writing(DEPLOYMENTS, "ml", "digits-1") as write:
        assert store.upsert(DEPLOYMENTS, deployment(5)) == set()
        write.answer = deployment(5)
    assert not write.something_else_happened


@pytest.mark.parametrize("version", [4, 6])
def test_somebody_elses_change_during_a_write_is_not_taken_for_its_echo(store: Store, version: int) -> None:
    with store.writing(DEPLOYMENTS, "ml", "digits-1") as write:
        assert store.upsert(DEPLOYMENTS, deployment(version)) == set()
        write.answer = deployment(5)
    assert write.something_else_happened


def test_a_deletion_during_a_write_is_not_undone_by_its_answer(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(1))
    with store.writing(DEPLOYMENTS, "ml", "digits-1") as write:
        store.remove(DEPLOYMENTS, deployment(6))
        write.answer = deployment(5)
    assert write.something_else_happened
    assert store.children(KEY)[DEPLOYMENTS] == {}


def test_a_status_that_came_only_with_the_answer_is_a_change_to_look_at(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(1, status={"readyReplicas": 0}))
    with store.writing(DEPLOYMENTS, "ml", "digits-1") as write:
        write.answer = deployment(5, status={"readyReplicas": 1})
    assert write.something_else_happened


def test_our_own_status_write_is_no_change_to_look_at(store: Store) -> None:
    store.upsert(MODEL_SERVICES, service(1, status={"replicas": 0}))
    with store.writing(MODEL_SERVICES, "ml", "digits", writes_status=True) as write:
        write.answer = service(2, status={"replicas": 1})
    assert not write.something_else_happened


def test_a_failed_write_lets_what_it_held_back_be_seen(store: Store) -> None:
    def fail() -> Never:
        with store.writing(DEPLOYMENTS, "ml", "digits-1") as write:
            store.upsert(DEPLOYMENTS, deployment(5))
            writes.append(write)
            raise TimeoutError

    writes = []
    with pytest.raises(TimeoutError):
        fail()
    assert writes[0].something_else_happened
    assert store.upsert(DEPLOYMENTS, deployment(6)) == {KEY}


@given(st.lists(st.tuples(st.sampled_from(["upsert", "remove"]), st.integers(1, 8)), max_size=12))
def test_in_whatever_order_events_arrive_the_newest_decides(events: list[tuple[str, int]]) -> None:
    # Of one object there is one event per version: what it was at each version is given, only the order is not.
    kinds = {version: kind for kind, version in events}
    store = Store(MODEL_SERVICES, "belongs-to")
    for _, version in events:
        getattr(store, kinds[version])(DEPLOYMENTS, deployment(version, spec=version))
    newest = max(kinds, default=0)
    found = store.children(KEY)[DEPLOYMENTS]
    if newest and kinds[newest] == "upsert":
        assert found["digits-1"]["spec"] == newest
    else:
        assert found == {}


def test_a_kind_that_is_followed_no_more_is_forgotten_and_may_come_back_as_it_was(store: Store) -> None:
    store.upsert(DEPLOYMENTS, deployment(2))
    store.upsert(PODS, deployment(3, "pod"))
    store.forget(DEPLOYMENTS)
    assert store.children(KEY)[DEPLOYMENTS] == {}
    assert list(store.children(KEY)[PODS]) == ["pod"]
    assert store.upsert(DEPLOYMENTS, deployment(2)) == {KEY}
    assert list(store.children(KEY)[DEPLOYMENTS]) == ["digits-1"]
