from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelservice_operator.engine.containment import differences

if TYPE_CHECKING:
    from modelservice_operator.engine.containment import Path
    from modelservice_operator.kube.resources import Body


def deployment(**container: str) -> Body:
    server = {"name": "server", "image": "server:1", **container}
    return {
        "metadata": {"labels": {"app": "digits"}},
        "spec": {
            "selector": {"matchLabels": {"app": "digits"}},
            "template": {"spec": {"containers": [server]}},
        },
    }


SAME = [
    ("cpu in other words", {"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}}),
    (
        "a number for a quantity",
        {"limits": {"cpu": 1, "nvidia.com/gpu": 1}},
        {"limits": {"cpu": "1", "nvidia.com/gpu": "1"}},
    ),
    ("memory in bytes", {"requests": {"memory": 1073741824}}, {"requests": {"memory": "1Gi"}}),
    ("an exponent", {"requests": {"memory": "1e3"}}, {"requests": {"memory": "1k"}}),
    ("a label that somebody added", {"labels": {"a": "1"}}, {"labels": {"a": "1", "b": "2"}}),
    ("a default that the server added", {"ports": [{"port": 80}]}, {"ports": [{"port": 80, "protocol": "TCP"}]}),
    (
        "a container that somebody added",
        {"containers": [{"name": "a"}]},
        {"containers": [{"name": "b"}, {"name": "a"}]},
    ),
    ("a null for an absent field", {"labels": None}, {}),
    ("a size limit", {"emptyDir": {"sizeLimit": "0.5Gi"}}, {"emptyDir": {"sizeLimit": "512Mi"}}),
]
DIFFERENT = [
    ("a changed value", {"replicas": 1}, {"replicas": 2}, ("replicas",)),
    ("a missing field", {"spec": {"paused": True}}, {"spec": {}}, ("spec", "paused")),
    ("an empty map that is not there", {"emptyDir": {}}, {"hostPath": {}}, ("emptyDir",)),
    ("a selector that somebody widened", {"selector": {"a": "1"}}, {"selector": {"a": "1", "b": "2"}}, ("selector",)),
    ("an argument that somebody added", {"args": ["a"]}, {"args": ["a", "b"]}, ("args",)),
    ("arguments in another order", {"args": ["a", "b"]}, {"args": ["b", "a"]}, ("args",)),
    (
        "a rule that somebody narrowed",
        {"ingress": [{"ports": []}]},
        {"ingress": [{"ports": [], "from": []}]},
        ("ingress",),
    ),
    (
        "an element that is gone",
        {"env": [{"name": "A", "value": "1"}]},
        {"env": []},
        ("env", "A"),
    ),
    (
        "a value of an element",
        {"env": [{"name": "A", "value": "1"}]},
        {"env": [{"name": "A", "value": "2"}]},
        ("env", "A", "value"),
    ),
    (
        "text that only looks like a quantity",
        {"env": [{"name": "CPU", "value": "1000m"}]},
        {"env": [{"name": "CPU", "value": "1"}]},
        ("env", "CPU", "value"),
    ),
    (
        "a port of another protocol",
        {"ports": [{"port": 53, "protocol": "UDP"}]},
        {"ports": [{"port": 53, "protocol": "TCP"}]},
        ("ports", "53,UDP"),
    ),
    ("other amounts", {"limits": {"cpu": "1"}}, {"limits": {"cpu": "1001m"}}, ("limits", "cpu")),
    ("no quantities at all", {"limits": {"cpu": "much"}}, {"limits": {"cpu": "more"}}, ("limits", "cpu")),
    ("another type", {"data": {"a": "1"}}, {"data": ["a"]}, ("data",)),
]


@pytest.mark.parametrize(("wanted", "live"), [case[1:] for case in SAME], ids=[case[0] for case in SAME])
def test_a_live_object_may_say_it_in_other_words_and_say_more(wanted: Body, live: Body) -> None:
    assert differences(wanted, live) == frozenset()


@pytest.mark.parametrize(("wanted", "live", "path"), [c[1:] for c in DIFFERENT], ids=[c[0] for c in DIFFERENT])
def test_a_difference_is_named_by_its_path(wanted: Body, live: Body, path: Path) -> None:
    assert differences(wanted, live) == {path}


def test_differences_are_found_deep_inside() -> None:
    path = ("spec", "template", "spec", "containers", "server", "image")
    assert differences(deployment(), deployment(image="server:2")) == {path}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), JSON))
def test_whatever_it_is_it_holds_itself(body: Body) -> None:
    assert not differences(body, body)


@given(st.dictionaries(st.text(max_size=5), JSON), JSON)
def test_an_added_field_is_no_difference(body: Body, more: object) -> None:
    assert not differences(body, {**body, "added by somebody": more})
