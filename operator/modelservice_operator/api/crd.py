"""The CustomResourceDefinition, generated from the types; `make crds` writes it to crds/ and into the chart."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import yaml
from pydantic.json_schema import GenerateJsonSchema

from modelservice_operator.api.rules import Block, Rule
from modelservice_operator.api.status import UNSEEN, ModelServiceStatus
from modelservice_operator.api.text import TextValue
from modelservice_operator.api.types import GROUP, KIND, NAME, PLURAL, VERSION, ModelServiceSpec

Schema = dict[str, Any]

HEADER = "# Generated from operator/modelservice_operator/api by `make crds`; do not edit.\n"

FIRST = ("description", "type", "enum", "default")

LONGEST_LINE = 1200  # of a field with fields of its own

LARGEST = 2**31 - 1  # of what fits an int32: no bound worth telling

READY = '.status.conditions[?(@.type=="Ready")]'
STABLE = '.status.revisions[?(@.role=="Stable")]'
COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "Ready", "type": "string", "jsonPath": f"{READY}.status"},
    {"name": "Reason", "type": "string", "jsonPath": f"{READY}.reason"},
    {"name": "Wanted", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Serving", "type": "integer", "jsonPath": ".status.readyReplicas"},
    {"name": "Budget", "type": "string", "jsonPath": ".status.slo[0].budgetRemaining"},
    {"name": "URL", "type": "string", "jsonPath": ".status.url"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Model", "type": "string", "jsonPath": ".spec.model.uri", "priority": 1},
    {"name": "Revision", "type": "string", "jsonPath": f"{STABLE}.name", "priority": 1},
)


class ModelService(Block):
    """A served model: what it is, where it runs, how many replicas, and how a new version is let in."""

    spec: ModelServiceSpec
    """What is wanted: the model, where it runs, how many replicas, how it changes."""

    status: ModelServiceStatus
    """What is: written by the operator, never by users."""

    rules: ClassVar[tuple[Rule, ...]] = (NAME,)


def crd() -> Schema:
    """Return the CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["modelsvc"],
                "categories": ["all", "modelservice"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _root()},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": list(COLUMNS),
                }
            ],
        },
    }


def as_yaml() -> str:
    """Return the CRD as `make crds` writes it: a line for each field, for indentation would be a third of its size."""
    text: str = yaml.dump(crd(), Dumper=_ALineForEachField, sort_keys=False, default_flow_style=None, width=sys.maxsize)
    return HEADER + text


def _root() -> Schema:
    described = ModelService.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    root = structural(described, described["$defs"])
    own = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    root["properties"] = own | root["properties"]
    root["properties"]["status"]["default"] = {"observedGeneration": UNSEEN}
    root["required"] = ["spec"]
    return root


def structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Turn a JSON schema of pydantic's into one that a CRD may hold: no references, no null, no titles.

    An empty default says what absence says already, so only defaults that decide something are written down. Those
    and the bounds of numbers are told in the description too, because `kubectl explain` shows nothing else. A list is
    described as a whole, its items are not.
    """
    schema = _resolved(_without_null(schema), definitions)
    ordered = [*(key for key in FIRST if key in schema), *(key for key in schema if key not in FIRST)]
    flat = {key: schema[key] for key in ordered if key not in ("$defs", "title", "additionalProperties")}
    if flat.get("default") in (None, "", [], {}):
        flat.pop("default", None)
    if "description" in flat:
        flat["description"] = " ".join([*flat["description"].split(), *_told(flat)])
    if isinstance(schema.get("additionalProperties"), dict):
        flat["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    if "items" in flat:
        flat["items"] = structural(flat["items"], definitions)
        flat["items"].pop("description", None)
    if "properties" in flat:
        flat["properties"] = {name: structural(field, definitions) for name, field in flat["properties"].items()}
    return flat


def _told(schema: Schema) -> list[str]:
    """Return the default and the bounds of a field as sentences."""
    told = []
    if "default" in schema:
        told.append(f"Default: {yaml.safe_dump(schema['default']).splitlines()[0]}.")
    if schema.get("maximum", LARGEST) < LARGEST:
        told.append(f"From {schema['minimum']} to {schema['maximum']}.")
    return told


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Put what `$ref` names in its place; what stands beside it, such as the field's own description, wins."""
    if "$ref" not in schema:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return definitions[schema["$ref"].removeprefix("#/$defs/")] | beside


def _without_null(schema: Schema) -> Schema:
    """Say that a field may be absent as Kubernetes does, by not requiring it."""
    choices: list[Schema] = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    return choices[0] | beside


class _AsWritten(GenerateJsonSchema):
    """Writes the default of a duration or a percentage as users do."""

    def encode_default(self, dft: object) -> object:
        return str(dft) if isinstance(dft, TextValue) else super().encode_default(dft)


class WithoutAnchors(yaml.SafeDumper):
    """Repeats what is equal: people read it."""

    def ignore_aliases(self, data: object) -> bool:
        """Say yes of everything."""
        del data
        return True


class _ALineForEachField(WithoutAnchors):
    """Puts a field on one line, with its rules and its items, unless it has more fields of its own than fit there."""

    def represent_mapping(
        self,
        tag: str,
        mapping: Any,  # noqa: ANN401 - yaml's signature
        flow_style: bool | None = None,  # noqa: FBT001 - yaml's signature
    ) -> yaml.MappingNode:
        """Decide how a mapping is written."""
        one_line = "description" in mapping and (
            "properties" not in mapping.get("items", mapping) or len(str(mapping)) <= LONGEST_LINE
        )
        return super().represent_mapping(tag, mapping, flow_style or one_line or None)


if __name__ == "__main__":
    sys.stdout.write(as_yaml())
