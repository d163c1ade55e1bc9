"""What is written when the store does not know of a child that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controlplane.conftest import created
from modelservice_operator import names
from modelservice_operator.engine.apply import UNMARKED, Applier
from modelservice_operator.engine.store import Key, Store
from modelservice_operator.kube.errors import Conflict
from modelservice_operator.kube.resources import CONTROLLER_REVISIONS, MODEL_SERVICES
from modelservice_operator.render.children import controller_revision
from modelservice_operator.rollout.ledger import entry, notes
from modelservice_operator.rollout.situation import Entry, Verdict

if TYPE_CHECKING:
    from modelservice_operator.kube.resources import Body
    from modelservice_operator.kube.session import Cluster

RECORDED = Entry("m-abc", sequence=1)
PROMOTED = Entry("m-abc", sequence=1, promotion=1, verdict=Verdict.PROMOTED)


def line(namespace: str, entry: Entry) -> Body:
    return controller_revision(namespace, "m", entry, notes(entry))


def applier(cluster: Cluster, store: Store) -> Applier:
    return Applier(cluster, store, lambda _: None, UNMARKED)


@pytest.mark.parametrize("conditional", [True, False])
async def test_a_process_whose_watch_lags_overwrites_nothing_that_was_made_before_it(
    cluster: Cluster, namespace: str, *, conditional: bool
) -> None:
    owner = await created(cluster, namespace, "m")
    await applier(cluster, Store(MODEL_SERVICES, names.NAME)).ensure(owner, line(namespace, PROMOTED), None)
    store = Store(MODEL_SERVICES, names.NAME)
    later = applier(cluster, store)
    for _ in range(2):  # it is refused, then it looks
        with pytest.raises(Conflict):
            await later.ensure(owner, line(namespace, RECORDED), None, conditional=conditional)
    known = store.children(Key(namespace, "m"))[CONTROLLER_REVISIONS]["m-abc"]
    assert entry(known, {}).verdict is Verdict.PROMOTED
    await later.ensure(owner, line(namespace, RECORDED), known, conditional=conditional)  # decided on what is there


async def test_a_child_that_lost_its_label_gets_it_back(cluster: Cluster, namespace: str) -> None:
    owner = await created(cluster, namespace, "m")
    store = Store(MODEL_SERVICES, names.NAME)
    subject = applier(cluster, store)
    await subject.ensure(owner, line(namespace, PROMOTED), None)
    patch = {"metadata": {"labels": {names.NAME: None}}}
    store.upsert(CONTROLLER_REVISIONS, await cluster.merge(CONTROLLER_REVISIONS, namespace, "m-abc", patch))
    assert not store.children(Key(namespace, "m"))[CONTROLLER_REVISIONS]
    with pytest.raises(Conflict):
        await subject.ensure(owner, line(namespace, RECORDED), None, conditional=True)
    await subject.ensure(owner, line(namespace, RECORDED), None, conditional=True)
    assert "m-abc" in store.children(Key(namespace, "m"))[CONTROLLER_REVISIONS]


async def test_children_are_read_again_for_decisions_that_must_not_rest_on_a_watch_that_lags(
    cluster: Cluster, namespace: str
) -> None:
    owner = await created(cluster, namespace, "m")
    store, elsewhere = Store(MODEL_SERVICES, names.NAME), Store(MODEL_SERVICES, names.NAME)
    subject = applier(cluster, store)
    await subject.ensure(owner, line(namespace, RECORDED), None)
    other = applier(cluster, elsewhere)
    await other.look_again_at_children(owner, CONTROLLER_REVISIONS)
    (live,) = elsewhere.children(Key(namespace, "m"))[CONTROLLER_REVISIONS].values()
    await other.ensure(owner, line(namespace, PROMOTED), live, conditional=True)

    def seen() -> Verdict:
        return entry(store.children(Key(namespace, "m"))[CONTROLLER_REVISIONS]["m-abc"], {}).verdict

    assert seen() is Verdict.UNDECIDED
    await subject.look_again_at_children(owner, CONTROLLER_REVISIONS)
    assert seen() is Verdict.PROMOTED
