from __future__ import annotations

import re
from typing import Any

import pytest

from modelservice_operator.api import ModelServiceSpec
from modelservice_operator.rollout.revision import LIVE, MIXED, POD_SHAPING, revision_name, shape
from unit.operator.api.cases import VALID
from unit.operator.makers import parsed, revision_of

FULL: dict[str, Any] = {
    "model": {"name": "digits", "uri": "https://example.com/m.tar", "caConfigMapRef": {"name": "ca"}},
    "runtime": {"image": "example/server:1", "port": 8081, "args": ["--x"], "env": [{"name": "A", "value": "ü"}]},
    "serving": {"maxBatchSize": 8, "maxBatchDelay": "5ms", "maxQueue": 16, "requestTimeout": "1m"},
    "accelerator": {"class": "nvidia-l4", "count": 2},
    "resources": {"requests": {"cpu": "1500m"}, "limits": {"memory": "4Gi"}},
    "startupTimeout": "1h",
    "podTemplate": {"metadata": {"labels": {"app": "m"}}, "spec": {"tolerations": [{"operator": "Exists"}]}},
    "replicas": 3,
}


def slo(target: str = "99%", threshold: str = "300ms", window: str = "30d") -> dict[str, Any]:
    latency = {"name": "latency", "target": target, "threshold": threshold}
    return {"window": window, "objectives": [latency, {"name": "availability", "target": target}]}


def test_every_field_of_the_spec_stands_in_exactly_one_of_the_three() -> None:
    fields = {field.alias for field in ModelServiceSpec.model_fields.values()}
    assert fields == POD_SHAPING | LIVE | MIXED
    assert len(fields) == len(POD_SHAPING) + len(LIVE) + len(MIXED)


def test_of_objectives_only_the_thresholds_make_a_revision() -> None:
    assert revision_of(slo=slo()) != revision_of()
    assert revision_of(slo=slo(threshold="400ms")) != revision_of(slo=slo())
    assert revision_of(slo=slo(target="99.9%", window="7d", threshold="0s300ms")) == revision_of(slo=slo())
    assert revision_of(slo={"objectives": [{"name": "availability", "target": "99%"}]}) == revision_of()


def test_the_name_of_a_revision_never_changes_for_a_spec() -> None:
    """Another name for the same spec would roll every service at an upgrade of the operator: do not mend this test."""
    assert revision_of() == "m-wzdv75wx8s"
    assert revision_of(**FULL) == "m-xvg8dwqf89"


@pytest.mark.parametrize(
    "same",
    [
        {"replicas": 7},
        {"rollout": {"paused": True}},
        {"service": {"type": "NodePort", "annotations": {"a": "b"}}},
        {"model": {"uri": "pvc://models/m", "name": "m", "digest": ""}},
        {"runtime": {"name": "Torch", "image": "", "port": 8080, "args": [], "env": []}, "startupTimeout": "600s"},
        {"serving": {"maxBatchSize": 64, "maxBatchDelay": "0ms", "maxQueue": 256, "requestTimeout": "10000ms"}},
        {"resources": {"requests": {}, "limits": {}}, "podTemplate": {"metadata": {"labels": {}}, "spec": {}}},
        {"security": {}},
        {"security": {"networkPolicy": {"allowFrom": [{"podSelector": {}}], "egress": "Restricted"}}},
    ],
)
def test_live_fields_and_defaults_that_are_written_out_make_no_revision(same: dict[str, Any]) -> None:
    assert revision_of(**same) == revision_of()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"resources": {"requests": {"cpu": "1000m"}}}, {"resources": {"requests": {"cpu": 1}}}),
        ({"resources": {"limits": {"memory": "1Gi"}}}, {"resources": {"limits": {"memory": 1073741824}}}),
        ({"explain": {"methods": ["Saliency", "KernelShap"]}}, {"explain": {"methods": ["KernelShap", "Saliency"]}}),
        ({"startupTimeout": "90s"}, {"startupTimeout": "1m30s"}),
        ({"accelerator": {"class": "a"}}, {"accelerator": {"class": "a", "count": 1}}),
        (
            {"podTemplate": {"metadata": {"labels": {"a": "1", "b": "2"}}}},
            {"podTemplate": {"metadata": {"labels": {"b": "2", "a": "1"}}}},
        ),
    ],
)
def test_two_notations_of_one_wish_are_one_revision(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert revision_of(**one) == revision_of(**other) != revision_of()


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"uri": "pvc://models/n"}},
        {"model": {"uri": "pvc://models/m", "name": "other"}},
        {"model": {"uri": "pvc://models/m", "trust": "Native"}},
        {"runtime": {"args": ["--x"]}},
        {"precision": "Float32"},
        {"serving": {"maxQueue": 1}},
        {"explain": {"methods": ["Saliency"]}},
        {"accelerator": {"class": "a"}},
        {"resources": {"limits": {"cpu": 1}}},
        {"startupTimeout": "1h"},
        {"podTemplate": {"metadata": {"labels": {"a": "b"}}}},
        {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}},
        {"security": {"auth": {"tokensSecretRef": {"name": "a"}}}},
        {"security": {"tls": {"secretRef": {"name": "a"}}}},
    ],
)
def test_every_pod_shaping_field_makes_a_revision(other: dict[str, Any]) -> None:
    assert revision_of(**other) != revision_of()


def test_a_live_field_beside_a_pod_shaping_one_makes_no_other_revision() -> None:
    tls = {"tls": {"secretRef": {"name": "a"}}}
    assert revision_of(security=tls) == revision_of(security=tls | {"networkPolicy": {"enabled": False}})


def test_a_restart_token_makes_a_revision_on_purpose() -> None:
    assert len({revision_of(), revision_of(restart="1"), revision_of(restart="2")}) == 3
    assert revision_of(restart="1") == revision_of(restart="1")


def test_the_order_of_variables_and_arguments_counts() -> None:
    def named(*variables: str) -> str:
        return revision_of(runtime={"env": [{"name": name, "value": "1"} for name in variables]})

    assert named("A", "B") != named("B", "A")


@pytest.mark.parametrize("spec", VALID.values(), ids=VALID.keys())
def test_a_name_is_a_label_and_a_name_of_every_child(spec: dict[str, Any]) -> None:
    name = revision_name("m" * 45, shape(parsed(**spec), ""))
    assert re.fullmatch(r"m{45}-[b-df-hj-np-tv-xz2-9]{10}", name)
    assert len(name) <= 63


def test_of_other_servers_no_objective_and_no_name_of_a_metric_makes_a_revision() -> None:
    vllm = {"name": "VLLM", "image": "x"}
    promised = {"objectives": [{"name": "firstToken", "target": "99%", "threshold": "250ms"}]}
    assert revision_of(runtime=vllm, slo=promised) == revision_of(runtime=vllm)
    custom = {"name": "Custom", "image": "x", "metricsPath": "/metrics"}
    assert revision_of(runtime=custom | {"metrics": {"latency": "seconds"}}) == revision_of(runtime=custom)
