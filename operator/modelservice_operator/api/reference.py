"""docs/api.md, the manual of every field, generated from the CRD by `make crds`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modelservice_operator.api.crd import Schema, crd
from modelservice_operator.api.rules import VALIDATIONS
from modelservice_operator.api.types import API_VERSION, KIND

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENING = f"""\
<!-- Generated from operator/modelservice_operator/api by `make crds`; do not edit. -->
# {KIND}

`apiVersion: {API_VERSION}`, `kind: {KIND}`, short name `modelsvc`. The same text is in
`kubectl explain modelservice.spec`. What status says is explained in [conditions.md](conditions.md).

Durations are one to four numbers with units, such as `250ms`, `10m` or `1h30m`; amounts are Kubernetes quantities, such
as `500m` or `4Gi`; shares are percentages with their sign, such as `99.9%`. How they are written makes no difference:
`1000m` is `1`. Fields in bold are required.
"""


def as_markdown() -> str:
    """Return the manual."""
    root = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rules = _rules(root)
    sections = [OPENING + "".join(f"\n- {rule}" for rule in rules) + "\n"]
    for name in ("spec", "status"):
        sections += _sections(name, root["properties"][name], root["properties"][name]["description"])
    return "\n".join(sections)


def _sections(path: str, block: Schema, description: str) -> Iterator[str]:
    """Write one section per block: its description, its fields, its rules; then those of the blocks in it."""
    fields: dict[str, Schema] = block.get("properties", {})
    required = block.get("required", [])
    rows = [
        f"| {f'**{name}**' if name in required else name} | {_type(field)} | {_cell(field['description'])} |"
        for name, field in fields.items()
    ]
    rules = [f"- {rule}" for rule in _rules(block)]
    rules += [f"- `{name}`: {rule}" for name, field in fields.items() for rule in _rules(field) if _is_leaf(field)]
    parts = [f"## {path}", description, "\n".join(["| field | type | |", "|---|---|---|", *rows])]
    yield "\n\n".join([*parts, *(["\n".join(rules)] if rules else [])]) + "\n"
    for name, field in fields.items():
        if not _is_leaf(field):
            inner = f"{path}.{name}{'[]' if 'items' in field else ''}"
            yield from _sections(inner, field.get("items", field), field["description"])


def _is_leaf(field: Schema) -> bool:
    return "properties" not in field.get("items", field)


def _rules(block: Schema) -> list[str]:
    return [_cell(rule["message"]) for rule in block.get(VALIDATIONS, [])]


def _type(field: Schema) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "x-kubernetes-int-or-string" in field:
        return "quantity"
    if "items" in field:
        return f"list of {_type(field['items'])}{'' if 'enum' in field['items'] else 's'}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}s".replace("quantitys", "quantities")
    return str(field["type"])


def _cell(text: str) -> str:
    """Write text so that Markdown shows it as it is, `code` apart."""
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
