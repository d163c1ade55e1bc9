from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.render.overlay import BadOverlayError, merge

PATH = "spec.podTemplate.spec"
POD = {
    "containers": [
        {
            "name": "server",
            "args": ["serve", "--port=8080"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"limits": {"memory": "1Gi"}},
        }
    ],
    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "model", "emptyDir": {}}],
}


def laid(overlay: dict[str, Any]) -> dict[str, Any]:
    return merge(POD, overlay, PATH)


def server(**fields: object) -> dict[str, Any]:
    """An overlay on the container `server`, laid over the pod: what becomes of that container."""
    merged: dict[str, Any] = laid({"containers": [{"name": "server", **fields}]})["containers"][0]
    return merged


def test_maps_merge_and_keep_what_the_overlay_does_not_name() -> None:
    assert laid({"securityContext": {"fsGroup": 1}})["securityContext"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 1,
    }


def test_a_container_is_found_by_its_name() -> None:
    changed = server(image="other:1")
    assert changed == POD["containers"][0] | {"image": "other:1"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("field", "overlay", "expected"),
    [
        ("env", [{"name": "B", "value": "3"}], [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]),
        ("ports", [{"containerPort": 8080, "hostPort": 80}], [{"name": "http", "containerPort": 8080, "hostPort": 80}]),
        ("args", ["serve"], ["serve"]),
        ("volumeMounts", [{"mountPath": "/data", "name": "data"}], [{"mountPath": "/data", "name": "data"}]),
    ],
)
def test_lists_with_a_key_merge_by_it_and_others_are_replaced(
    field: str, overlay: list[object], expected: list[object]
) -> None:
    assert server(**{field: overlay})[field] == expected


def test_what_is_new_comes_after_what_was_there() -> None:
    merged = laid({"containers": [{"name": "proxy", "image": "p"}, {"name": "server"}], "volumes": [{"name": "data"}]})
    assert [container["name"] for container in merged["containers"]] == ["server", "proxy"]
    assert [volume["name"] for volume in merged["volumes"]] == ["tmp", "model", "data"]


def test_null_removes_a_field_and_is_nothing_where_there_is_none() -> None:
    assert "securityContext" not in laid({"securityContext": None})
    assert laid({"affinity": None}) == POD
    assert server(resources={"limits": {"memory": None}})["resources"] == {"limits": {}}
    assert laid({"initContainers": [{"name": "wait", "image": None}]})["initContainers"] == [{"name": "wait"}]


def test_patch_delete_removes_an_element_or_empties_a_map() -> None:
    assert laid({"volumes": [{"name": "tmp", "$patch": "delete"}]})["volumes"] == [{"name": "model", "emptyDir": {}}]
    assert laid({"volumes": [{"name": "none", "$patch": "delete"}]}) == POD
    assert laid({"securityContext": {"$patch": "delete"}})["securityContext"] == {}


def test_patch_replace_puts_a_map_or_a_list_in_place_of_all_that_was_there() -> None:
    assert laid({"securityContext": {"$patch": "replace", "fsGroup": 1}})["securityContext"] == {"fsGroup": 1}
    assert laid({"volumes": [{"name": "only", "emptyDir": {}}, {"$patch": "replace"}]})["volumes"] == [
        {"name": "only", "emptyDir": {}}
    ]


def test_patch_merge_says_what_happens_anyway() -> None:
    assert laid({"securityContext": {"$patch": "merge"}}) == POD


BY_NAME = "needs name (text): that is how it finds the element to change."
BY_NUMBER = "needs containerPort (a number): that is how it finds the element to change."
ALONE = "$patch: replace is about the whole list; give it an element of its own."
DIRECTIVE = "must be merge, replace or delete."


@pytest.mark.parametrize(
    ("overlay", "where", "sentence"),
    [
        ({"containers": {"server": {}}}, ".containers", "must be a list."),
        ({"securityContext": "none"}, ".securityContext", "must be a map."),
        ({"containers": [{"image": "sidecar"}]}, ".containers[0]", BY_NAME),
        ({"containers": ["sidecar"]}, ".containers[0]", BY_NAME),
        ({"containers": [{"name": {"a": 1}}]}, ".containers[0]", BY_NAME),
        (
            {"containers": [{"name": "server", "ports": [{"name": "grpc", "containerPort": "81"}]}]},
            ".containers[name=server].ports[0]",
            BY_NUMBER,
        ),
        (
            {"containers": [{"name": "server", "args": "serve"}]},
            ".containers[name=server].args",
            "must be a list.",
        ),
        ({"containers": [{"name": "new", "env": "A=1"}]}, ".containers[name=new].env", "must be a list."),
        (
            {"containers": [{"name": "new", "resources": {"limits": 5}}]},
            ".containers[name=new].resources.limits",
            "must be a map.",
        ),
        (
            {"volumes": [{"$retainKeys": ["emptyDir"], "name": "tmp"}]},
            ".volumes[name=tmp].$retainKeys",
            "is not supported; of the patch directives only $patch is.",
        ),
        ({"securityContext": {"$patch": "remove"}}, ".securityContext.$patch", DIRECTIVE),
        ({"securityContext": {"$patch": ["delete"]}}, ".securityContext.$patch", DIRECTIVE),
        ({"containers": [{"name": "server", "$patch": "replace"}]}, ".containers[0]:", ALONE),
    ],
)
def test_what_does_not_fit_is_told_with_its_path_and_a_remedy(
    overlay: dict[str, Any], where: str, sentence: str
) -> None:
    with pytest.raises(BadOverlayError) as refused:
        laid(overlay)
    assert str(refused.value) == f"{PATH}{where} {sentence}"


def test_what_is_deleted_and_given_anew_keeps_its_place() -> None:
    anew = [{"name": "b", "$patch": "delete"}, {"name": "b", "image": "new"}, {"name": "a"}]
    base = {"containers": [{"name": "b", "args": ["old"]}, {"name": "a"}, {"name": "server"}]}
    expected = [{"name": "b", "image": "new"}, {"name": "a"}, {"name": "server"}]
    assert merge(base, {"containers": anew}, PATH) == {"containers": expected}


def test_what_is_merged_stays_as_it_was() -> None:
    before = repr(POD)
    laid({"containers": [{"name": "server", "env": [{"name": "A", "$patch": "delete"}]}], "securityContext": None})
    assert repr(POD) == before


NAMES = st.sampled_from(["a", "b", "server"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3))
MAPS = st.dictionaries(NAMES, SCALARS, max_size=3)
DIRECTIVES = st.sampled_from([{}, {}, {"$patch": "merge"}, {"$patch": "delete"}])
CONTAINERS = st.lists(
    st.builds(
        lambda name, env, fields, directive: {"name": name, "env": env} | fields | directive,
        NAMES,
        st.lists(st.builds(lambda name, fields: fields | {"name": name}, NAMES, MAPS), max_size=2),
        st.fixed_dictionaries(
            {}, optional={"image": SCALARS, "resources": MAPS, "args": st.lists(st.text(), max_size=2)}
        ),
        DIRECTIVES,
    ),
    max_size=3,
)
OVERLAYS = st.fixed_dictionaries(
    {},
    optional={
        "containers": CONTAINERS,
        "nodeSelector": st.builds(lambda fields, directive: fields | directive, MAPS, DIRECTIVES),
        "tolerations": st.lists(MAPS, max_size=2),
        "securityContext": st.one_of(st.none(), MAPS),
    },
)


@given(OVERLAYS)
def test_merging_nothing_changes_nothing(overlay: dict[str, Any]) -> None:
    pod = laid(overlay)
    assert merge(pod, {}, PATH) == pod


@given(OVERLAYS)
def test_merging_twice_equals_merging_once(overlay: dict[str, Any]) -> None:
    pod = laid(overlay)
    assert merge(pod, overlay, PATH) == pod
