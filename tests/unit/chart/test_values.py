"""The chart's values, their schema and their documentation say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import chart_values

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART = Path(__file__).parents[3] / "charts/modelservice-operator"
PAGE = Path(__file__).parents[3] / "docs/chart-values.md"
VALUES = chart_values.VALUES.read_text()


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == chart_values.page(VALUES), "run make chart-values"


def test_every_value_is_explained_or_the_block_that_it_is_in() -> None:
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    assert [section.split("\n")[0] for section in sections] == list(yaml.safe_load(VALUES))
    assert [section for section in sections if not re.match(r"\w+\n\n\w", section)] == []


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def unknown(values: dict[str, Any], known: dict[str, Any], path: str = "") -> Iterator[str]:
        known = schema["definitions"][known["$ref"].rpartition("/")[2]] if "$ref" in known else known
        for name, value in values.items():
            if name in known.get("properties", {}):
                if isinstance(value, dict):
                    yield from unknown(value, known["properties"][name], f"{path}{name}.")
            elif "properties" in known:
                yield f"{path}{name}"

    assert list(unknown(yaml.safe_load(VALUES), schema)) == []


def test_an_example_in_a_comment_is_an_example_on_the_page() -> None:
    text = "# What it is:\n#\n#   a: [1]\na: []\n\n# A block.\nb:\n  # One.\n  c: 1\n  d: {e: 2}\n"
    page = chart_values.page(text)
    assert page.endswith(
        "## a\n\nWhat it is:\n\n    a: [1]\n\nDefault: `[]`\n\n"
        '## b\n\nA block.\n\n- `b.c` (default `1`):\n  One.\n- `b.d` (default `{"e": 2}`)\n'
    )
