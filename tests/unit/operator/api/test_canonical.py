"""Equal wishes have one canonical form, whatever was written and whatever was left out."""

from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator.api import canonical, parse
from unit.operator.api.cases import VALID, spec


def form(spec: dict[str, Any]) -> dict[str, Any]:
    return canonical(parse({"metadata": {"name": "digits"}, "spec": spec}))


SMALLEST = {"model": {"name": "digits", "uri": "pvc://models/digits"}}


@pytest.mark.parametrize(
    "written",
    [
        spec(),
        spec(model={"name": "digits", "uri": "pvc://models/digits", "digest": "", "trust": "Data"}),
        spec(runtime={}, serving={}, resources={}, service={}, podTemplate={"metadata": {}, "spec": {}}, rollout={}),
        spec(runtime={"name": "Torch", "image": "", "port": 8080, "args": [], "env": []}),
        spec(precision="Auto", explain={"methods": []}),
        spec(serving={"maxBatchSize": 64, "maxBatchDelay": "0ms", "maxQueue": 256, "requestTimeout": "10000ms"}),
        spec(startupTimeout="600s", service={"type": "ClusterIP", "annotations": {}}, rollout={"paused": False}),
        spec(resources={"requests": {}, "limits": {}}),
    ],
)
def test_what_equals_a_default_is_not_in_it(written: dict[str, Any]) -> None:
    assert form(written) == SMALLEST


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (spec(startupTimeout="60s"), spec(startupTimeout="1m")),
        (spec(resources={"limits": {"cpu": "1000m"}}), spec(resources={"limits": {"cpu": 1}})),
        (spec(resources={"limits": {"memory": "1Gi"}}), spec(resources={"limits": {"memory": 1073741824}})),
        (spec(accelerator={"class": "l4"}), spec(accelerator={"count": 1, "class": "l4"})),
        (spec(runtime={"env": [{"name": "A"}]}), spec(runtime={"env": [{"name": "A", "value": ""}]})),
    ],
)
def test_notations_of_one_wish_have_one_form(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert form(one) == form(other)


def test_it_is_written_as_people_would_write_it() -> None:
    assert form(VALID["everything at once"])["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }
    assert form(spec(serving={"maxBatchDelay": "1500ms"}))["serving"] == {"maxBatchDelay": "1s500ms"}


@pytest.mark.parametrize("written", VALID.values(), ids=VALID)
def test_it_can_be_read_again_to_the_same_form(written: dict[str, Any]) -> None:
    assert form(form(written)) == form(written)


def test_it_is_frozen() -> None:
    """Ledgers hold hashes of this form: when this test must change, every model in the world rolls."""
    assert form(VALID["everything at once"]) == {
        "model": {
            "name": "Digits_v2.1",
            "uri": "https://h.example:8443/a/b.tar.gz?x=%20",
            "digest": "sha256:" + "0123456789abcdef" * 4,
            "caConfigMapRef": {"name": "corp-ca"},
        },
        "runtime": {
            "image": "localhost/a/b:dev",
            "port": 8081,
            "args": ["--verbose", ""],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
        },
        "serving": {"maxBatchSize": 1, "maxBatchDelay": "1s500ms", "maxQueue": 1, "requestTimeout": "1h"},
        "accelerator": {"class": "nvidia-l4", "count": 2},
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "startupTimeout": "1h30m",
        "service": {"type": "LoadBalancer", "annotations": {"example.com/lb": "internal"}},
        "podTemplate": {
            "metadata": {"labels": {"app": "digits"}, "annotations": {"a": "b c\n"}},
            "spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]},
        },
        "replicas": 3,
        "rollout": {"paused": True},
    }
