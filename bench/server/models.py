"""The models that every server serves: plain torch modules with fixed weights, the same bits for all.

    python bench/server/models.py FOLDER NAME...

writes some as our server reads them, with rows to ask about and what torch answers to each. Adapters load this module
in environments that have torch and nothing of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from shapes import MODELS

_GOLDEN_ROWS, _ROWS = 4, 32


class Encoder(nn.Module):
    """Six layers of attention over 64 vectors of 256."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(256, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer for each row."""
        answer: torch.Tensor = self.head(self.encoder(x).mean(dim=1))
        return answer


class Brightness(nn.Module):
    """The average of each colour."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Answer for each row."""
        return x.mean(dim=(2, 3))


def build(name: str) -> nn.Module:
    """Return a model, always with the same weights."""
    torch.manual_seed(0)
    if name == "tiny":
        module: nn.Module = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 10))
    else:
        module = {"medium": Encoder, "image": Brightness}[name]()
    return module.eval()


def write(name: str, folder: Path) -> None:
    """Write a model directory, and beside it rows and answers."""
    from safetensors.torch import save_file  # noqa: PLC0415  # the peers have no use for it

    directory = folder / name
    directory.mkdir()
    shape, module = MODELS[name], build(name)
    rows = np.random.default_rng(0).standard_normal((_ROWS, *shape.row), dtype=np.float32)
    with torch.inference_mode():
        answers = module(torch.from_numpy(rows)).numpy()
    card: dict[str, object] = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, *shape.row]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, shape.answer]}],
    }
    if name == "image":
        card |= {"format": "pt2"}
        free = ({0: torch.export.Dim("rows")},)
        program = torch.export.export(module, (torch.from_numpy(rows[:2]),), dynamic_shapes=free)
        torch.export.save(program, directory / "model.pt2")
    else:
        parameters: dict[str, object] = {"layers": [10, 20, 10]}
        if name == "medium":
            parameters = {"width": 256, "depth": 6, "heads": 4, "feedforward": 1024, "output": 256}
        architecture = "mlp" if name == "tiny" else "transformer-encoder"
        card |= {"format": "safetensors", "architecture": architecture, "parameters": parameters}
        save_file(module.state_dict(), directory / "weights.safetensors")
    (directory / "model.json").write_text(json.dumps(card))
    golden = {"inputs.x": rows[:_GOLDEN_ROWS], "outputs.y": answers[:_GOLDEN_ROWS]}
    np.savez(directory / "golden.npz", **golden)
    np.savez(folder / f"{name}.npz", rows=rows, answers=answers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in sys.argv[2:]:
        write(each, Path(sys.argv[1]))
