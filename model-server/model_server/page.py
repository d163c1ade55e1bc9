"""A report: one page of Markdown, its pictures beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

PAGE = "report.md"


class Page:
    """Collects what is to be read, from top to bottom."""

    def __init__(self, title: str) -> None:
        self._parts = [f"# {title}"]
        self._pictures: dict[str, bytes] = {}

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"## {text}")

    def text(self, text: str) -> None:
        """Say something."""
        self._parts.append(text)

    def code(self, text: str) -> None:
        """Show what can be copied."""
        self._parts.append(f"```\n{text}\n```")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show figures."""
        lines = [head, ["---"] * len(head), *rows]
        self._parts.append("\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines))

    def picture(self, name: str, svg: bytes, says: str) -> None:
        """Show a picture."""
        self._pictures[f"{name}.svg"] = svg
        self._parts.append(f"![{says}]({name}.svg)")

    def write(self, directory: Path, name: str = PAGE) -> None:
        """Write all of it."""
        directory.mkdir(parents=True, exist_ok=True)
        for picture, svg in self._pictures.items():
            (directory / picture).write_bytes(svg)
        (directory / name).write_text("\n\n".join(self._parts) + "\n", encoding="utf-8")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value).replace("|", "\\|")
