"""A ModelService is read, or refused in sentences that name a path and say what to do."""

from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator.api import InvalidSpec, ModelServiceSpec, parse
from modelservice_operator.api.duration import Duration
from modelservice_operator.api.quantity import Quantity
from unit.operator.api.cases import BAD_NAMES, INVALID, VALID, Invalid, spec


def service(spec: dict[str, Any], name: str = "digits") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("case", VALID.values(), ids=VALID)
def test_a_valid_spec_is_read(case: dict[str, Any]) -> None:
    assert isinstance(parse(service(case)), ModelServiceSpec)


@pytest.mark.parametrize("case", INVALID.values(), ids=INVALID)
def test_an_invalid_spec_is_refused_with_its_path_and_what_to_do(case: Invalid) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse(service(case.spec))
    (sentence,) = refused.value.sentences
    assert sentence.startswith(f"{case.path}: ")
    assert case.message is None or case.message in sentence


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_no_service_may_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec, match=r"metadata\.name must start with a letter"):
        parse(service(spec(), name))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse(service({"model": {"uri": "x", "digest": "y"}, "replicas": "3", "runtime": {"port": 0}}))
    assert [sentence.partition(":")[0] for sentence in refused.value.sentences] == [
        "spec.model.uri",
        "spec.model.digest",
        "spec.runtime.port",
        "spec.replicas",
    ]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({}, "spec.model: is required"),
        (spec(replicas=-1), "spec.replicas: must be at least 0 (found -1)"),
        (spec(replicas=2**31), "spec.replicas: must be at most 2147483647 (found 2147483648)"),
        (spec(replicas=True), "spec.replicas: must be a whole number (found true)"),
        (spec(runtime={"name": "Vllm"}), "spec.runtime.name: must be 'Torch', 'VLLM' or 'Custom' (found \"Vllm\")"),
        (spec(rollout={"paused": "yes"}), 'spec.rollout.paused: must be true or false (found "yes")'),
        (spec(serving=[]), "spec.serving: must be an object"),
        (spec(runtime={"args": "--x"}), 'spec.runtime.args: must be a list (found "--x")'),
        (spec(model={"uri": 3}), "spec.model.uri: must be text; quote it (found 3)"),
        (
            spec(resources={"requests": {"cpu": "two"}}),
            'spec.resources.requests.cpu: must be a quantity such as 2, "500m" or "4Gi" (found "two")',
        ),
    ],
)
def test_sentences_speak_yaml_and_quote_what_was_found(broken: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse(service(broken))
    assert refused.value.sentences == (sentence,)


def test_a_field_of_a_later_version_is_named_not_ignored() -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.prefetching: is no field that this version of the operator knows"):
        parse(service(spec(prefetching={"depth": 3})))


def test_snake_case_is_not_yaml() -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.startup_timeout: is no field"):
        parse(service(spec(startup_timeout="1m")))


def test_the_value_of_a_variable_is_never_quoted() -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse(service(spec(runtime={"env": [{"name": "TOKEN", "value": 424242}]})))
    assert "424242" not in str(refused.value)


def test_a_model_without_a_name_has_that_of_its_service() -> None:
    assert parse(service(spec())).model.name == "digits"
    assert parse(service(spec(model={"name": "other", "uri": "file:///m"}))).model.name == "other"


def test_absent_blocks_have_their_defaults() -> None:
    read = parse(service(spec()))
    assert (read.runtime.name, read.runtime.port, read.serving.max_queue) == ("Torch", 8080, 256)
    assert (read.serving.max_batch_delay, read.startup_timeout) == (Duration.parse("0s"), Duration.parse("10m"))
    assert (read.replicas, read.accelerator, read.rollout.paused) == (None, None, False)


def test_amounts_are_values() -> None:
    read = parse(service(spec(resources={"requests": {"cpu": "1000m"}, "limits": {"cpu": 1}})))
    assert read.resources.requests == read.resources.limits == {"cpu": Quantity.parse(1)}
