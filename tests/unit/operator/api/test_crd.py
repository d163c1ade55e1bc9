"""The generated CRD: fresh, small, described, and within what a structural schema may say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from modelservice_operator.api import crd, reference, troubleshooting
from modelservice_operator.api.duration import Duration
from modelservice_operator.api.types import ModelServiceSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]
FILE = ROOT / "crds/modelservice.dev_modelservices.yaml"
SCHEMA: dict[str, Any] = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk every field below `schema`."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field.get("items", field), f"{path}.{name}")


FIELDS = {path: field for root in ("spec", "status") for path, field in fields(SCHEMA["properties"][root], root)}


def test_the_files_are_what_make_crds_writes() -> None:
    assert FILE.read_text() == crd.as_yaml()
    assert (ROOT / "charts/modelservice-operator/files/crds" / FILE.name).read_text() == crd.as_yaml()
    assert (ROOT / "docs/api.md").read_text() == reference.as_markdown()
    assert (ROOT / "docs/troubleshooting.md").read_text() == troubleshooting.as_markdown()


def test_the_yaml_means_what_was_generated() -> None:
    assert yaml.safe_load(crd.as_yaml()) == crd.crd()


def test_it_is_small() -> None:
    assert FILE.stat().st_size < 50_000


def test_every_field_is_described_in_a_sentence() -> None:
    lines = {path: field.get("description", "") for path, field in FIELDS.items()}
    assert {path for path, line in lines.items() if len(line) < 15 or not line.endswith(".")} == set()


def test_every_field_has_bounds() -> None:
    """Bounds are also what keeps the cost of rules within the API server's budget."""
    bounds = {
        "string": {"enum", "maxLength", "pattern", "format"},
        "integer": {"format"},
        "array": {"maxItems"},
        "object": {"properties", "maxProperties", "x-kubernetes-preserve-unknown-fields"},
        "boolean": {"type"},
    }
    spec = {path: field for path, field in FIELDS.items() if path.startswith("spec.")}
    assert {path for path, field in spec.items() if not bounds[field["type"]] & field.keys()} == set()


def test_only_leaves_have_defaults() -> None:
    """A default of a block would be written into every stored object."""
    assert {path for path, field in FIELDS.items() if "default" in field and field["type"] == "object"} == set()


def test_defaults_are_told_where_explain_shows_them() -> None:
    assert FIELDS["spec.serving.maxBatchSize"]["description"].endswith("Default: 64. From 1 to 4096.")
    assert FIELDS["spec.rollout.paused"]["description"].endswith("Default: false.")


def test_durations_are_written_as_text() -> None:
    assert FIELDS["spec.startupTimeout"]["default"] == str(Duration.parse("10m"))


def test_replicas_has_no_default() -> None:
    """Absent means the number that runs, never one."""
    assert "default" not in FIELDS["spec.replicas"]
    assert ModelServiceSpec.model_fields["replicas"].default is None


def test_an_unseen_object_has_a_generation_that_never_is() -> None:
    assert SCHEMA["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_nothing_is_left_that_a_structural_schema_may_not_hold() -> None:
    text = crd.as_yaml()
    for word in ("$ref", "$defs", "title:", "propertyNames", "patternProperties", "additionalProperties: false", "&id"):
        assert word not in text
