from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelservice_operator.api.types import Trust
from modelservice_operator.config import AcceleratorClass, Config, ConfigError, Images, Limits, Monitoring, load, parse

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST: dict[str, Any] = {"images": {"server": "example/server:1"}}


def test_the_smallest_file_names_the_server_s_image(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("images: {server: 'example/server:1'}\n")
    assert load(file) == Config(images=Images(server="example/server:1"), installation="default", accelerators={})


def test_a_class_says_what_it_stands_for() -> None:
    given = {"resource": "nvidia.com/gpu", "nodeSelector": {"a": "b"}, "runtimeClassName": "nvidia"}
    found = parse(SMALLEST | {"accelerators": {"l4": given, "cpu": {}}}, source="x").accelerators
    assert found["cpu"] == AcceleratorClass()
    assert found["l4"] == AcceleratorClass(
        resource="nvidia.com/gpu", node_selector={"a": "b"}, runtime_class_name="nvidia"
    )


def test_models_are_monitored_in_both_ways_unless_one_is_turned_off() -> None:
    assert parse(SMALLEST, source="x").monitoring == Monitoring(labels={}, service_monitors=True, annotations=True)
    given = {"labels": {"release": "prometheus"}, "annotations": False}
    found = parse(SMALLEST | {"monitoring": given}, source="x").monitoring
    assert found == Monitoring(labels={"release": "prometheus"}, service_monitors=True, annotations=False)


def test_a_limit_that_is_left_out_is_none_and_an_empty_one_allows_nothing() -> None:
    assert parse(SMALLEST, source="x").limits == Limits(trust=None, images=None, service_accounts=None)
    given = {"trust": ["Data"], "images": [], "serviceAccounts": ["reader"]}
    found = parse(SMALLEST | {"limits": given}, source="x").limits
    assert found == Limits(trust=(Trust.DATA,), images=(), service_accounts=("reader",))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "images: Field required"),
        ({"images": {}}, "images.server: Field required"),
        ({"images": {"server": ""}}, "images.server: String should have at least 1 character"),
        (SMALLEST | {"image": "x"}, "image: Extra inputs are not permitted"),
        (SMALLEST | {"accelerators": {"l4": {"node_selector": {}}}}, "accelerators.l4.node_selector: Extra inputs"),
        (SMALLEST | {"monitoring": {"labels": {"release": 1}}}, "monitoring.labels.release: Input should be a valid"),
        (SMALLEST | {"accelerators": {"l4": {"pricePerHour": -1}}}, "l4.pricePerHour: Input should be greater than"),
        (SMALLEST | {"limits": {"trust": ["All"]}}, "limits.trust.0: Input should be 'Data', 'Signed' or 'Native'"),
        (
            SMALLEST | {"trustedKeys": {"a": "-----BEGIN EC PRIVATE KEY-----\nMFkw"}},
            "trustedKeys.a: String should match",
        ),
        (SMALLEST | {"trustedKeys": {"../a": ""}}, "trustedKeys.../a.[key]: String should match"),
        (SMALLEST | {"limits": {"image": []}}, "limits.image: Extra inputs are not permitted"),
        (["images"], "the file: Input should be a valid dictionary"),
    ],
)
def test_every_wrong_key_is_named_with_the_file(data: object, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(data, source="/etc/config.yaml")
    assert str(refused.value).startswith("The configuration /etc/config.yaml is not valid: ")
    assert words in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"images: .*; more: "):
        parse({"more": 1}, source="x")


@pytest.mark.parametrize("content", [b"images: {", b"\x80", None], ids=["no YAML", "no text", "no file"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"The configuration {file} cannot be read: "):
        load(file)


def test_an_empty_file_lacks_what_is_required(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("")
    with pytest.raises(ConfigError, match="images: Field required"):
        load(file)
