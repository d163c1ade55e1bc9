from __future__ import annotations

from typing import Any

from modelservice_operator.engine.surroundings import Surroundings
from modelservice_operator.kube.resources import NAMESPACES, PROMETHEUSES

Body = dict[str, Any]


def namespace(name: str, **labels: str) -> Body:
    return {"metadata": {"name": name, "labels": labels}}


def test_who_is_near_is_told_of_changed_facts_and_of_nothing_else() -> None:
    told: list[str] = []
    around = Surroundings(
        {NAMESPACES: lambda body: dict(body["metadata"]["labels"])}, lambda _, name: told.append(name[1])
    )
    around.listed(NAMESPACES, [namespace("a", x="1"), namespace("b")])
    around.changed(NAMESPACES, namespace("a", x="1") | {"status": {}})
    assert told == ["a", "b"]
    around.changed(NAMESPACES, namespace("a", x="2"))
    assert told == ["a", "b", "a"]
    assert around.of(NAMESPACES)["", "a"] == {"x": "2"}


def test_what_is_deleted_or_lacks_in_a_list_is_forgotten() -> None:
    told: list[str] = []
    around = Surroundings({NAMESPACES: lambda _: {}}, lambda _, name: told.append(name[1]))
    around.listed(NAMESPACES, map(namespace, "abc"))
    told.clear()
    around.deleted(NAMESPACES, namespace("a"))
    around.replaced(NAMESPACES, {("", "b")}, "7", None)
    assert told == ["a", "c"]
    assert set(around.of(NAMESPACES)) == {("", "b")}
    around.forget(NAMESPACES)
    assert not around.of(NAMESPACES)
    assert not around.of(PROMETHEUSES)
