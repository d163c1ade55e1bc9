"""Real programs, exported once, and a way to change what an archive holds."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Entries = dict[str, bytes]
Dim = torch.export.Dim


class Perceptron(torch.nn.Module):
    """Parameters, a buffer and a constant tensor: all three places where an archive keeps numbers."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Linear(4, 8)
        self.last = torch.nn.Linear(8, 2)
        self.register_buffer("scale", torch.tensor([2.0, 3.0]))
        self.shift = torch.tensor([1.0, -1.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.last(torch.relu(self.first(x)))
        return y * self.scale + self.shift


def exported(module: torch.nn.Module, *examples: torch.Tensor, dynamic: Any = None) -> bytes:  # noqa: ANN401
    """Export with a free number of rows, as torch writes it."""
    shapes = dynamic or tuple({0: Dim("rows")} for _ in examples)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(module.eval(), examples, dynamic_shapes=shapes), buffer)
    return buffer.getvalue()


@cache
def perceptron() -> bytes:
    """Export the perceptron."""
    return exported(Perceptron(), torch.randn(3, 4))


def entries_of(archive: bytes) -> Entries:
    """Read all entries, by their names inside the root folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return {name.partition("/")[2]: packed.read(name) for name in packed.namelist()}


def packed(entries: Entries, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Pack entries as torch does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(f"model/{name}", content)
    return buffer.getvalue()


def changed(entry: str, change: Callable[[Any], object]) -> bytes:
    """Change one JSON document of the perceptron's archive."""
    entries = entries_of(perceptron())
    document = json.loads(entries[entry])
    change(document)
    return packed({**entries, entry: json.dumps(document).encode()})


def directory(path: Path, archive: bytes, inputs: Any = (4,), outputs: Any = (2,)) -> Path:  # noqa: ANN401
    """Write a model directory with one input and one output, of FP32."""
    card = {
        "format": "pt2",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, *inputs]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, *outputs]}],
    }
    path.mkdir(exist_ok=True)
    (path / "model.json").write_text(json.dumps(card))
    (path / "model.pt2").write_bytes(archive)
    return path
