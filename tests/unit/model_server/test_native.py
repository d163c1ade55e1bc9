"""Code in an artefact runs under trust Native, and only there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from model_server.artefact.card import Trust
from model_server.describe import as_json, as_text, describe
from model_server.errors import ModelError, NeedsNativeError
from model_server.model import load
from unit.model_server.program.exported import Dim, exported

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.float32)

HANDLER = """
from pathlib import Path
import doubling

def load(directory):
    Path(directory, "canary").touch()
    factor = float((directory / "factor.txt").read_text())
    return lambda x: (doubling.double(x[:, :2]) * factor,)
"""


def directory(path: Path, name: str, **card: Any) -> Path:  # noqa: ANN401
    made = {
        "format": name,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    (path / "model.json").write_text(json.dumps({**made, **card}))
    return path


def handler(path: Path, text: str = HANDLER) -> Path:
    (path / "handler.py").write_text(text)
    (path / "doubling.py").write_text("def double(x):\n    return x * 2\n")
    (path / "factor.txt").write_text("10")
    return directory(path, "python")


def test_a_handler_answers_where_it_is_trusted(tmp_path: Path) -> None:
    model = load(handler(tmp_path), trust=Trust.NATIVE)
    assert model.forward((ROWS,))[0].tolist() == [[20, 40], [100, 120]]


def test_a_handler_does_not_run_where_it_is_not(tmp_path: Path) -> None:
    with pytest.raises(NeedsNativeError, match=r"handler.py is refused: .* spec.model.trust: Native"):
        load(handler(tmp_path))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere", "handler.py fails: ModuleNotFoundError: No module named 'nowhere'."),
        ("def load(", "handler.py fails: SyntaxError: '\\(' was never closed"),
        ("x = 1", "handler.py fails: AttributeError: module 'handler' has no attribute 'load'."),
        ("def load(directory): raise ValueError", "handler.py fails: ValueError: ValueError."),
        ("def load(directory): return 7", "returned int; it has to return a function of the inputs' tensors."),
        (
            "def load(directory): return lambda x: x[:, 0] + x.missing",
            "fails on its first input: 'Tensor' object has no",
        ),
        ("def load(directory): return lambda x: (x, x)", "first input: it gives 2 outputs, model.json names 1."),
        ("def load(directory): return lambda x: x[:, :3]", r"has the shape \[1, 3\]; model.json says \[-1, 2\]."),
    ],
)
def test_a_handler_that_fails_is_told_in_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        load(handler(tmp_path, text), trust=Trust.NATIVE)


def test_a_handler_may_give_a_module(tmp_path: Path) -> None:
    text = (
        "import torch\ndef load(directory):\n    return torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(4, 2))"
    )
    first, again = (model.forward((ROWS,)) for model in [load(handler(tmp_path, text), trust=Trust.NATIVE)] * 2)
    np.testing.assert_array_equal(first, again)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_is_served_where_it_is_trusted(tmp_path: Path) -> None:
    module = torch.nn.Linear(4, 2).eval()
    torch.jit.trace(module, torch.zeros(1, 4)).save(tmp_path / "model.pt")  # type: ignore[no-untyped-call]
    directory(tmp_path, "torchscript")
    (answer,) = load(tmp_path, trust=Trust.NATIVE).forward((ROWS,))
    np.testing.assert_allclose(answer, module(torch.from_numpy(ROWS)).detach(), rtol=1e-5)
    with pytest.raises(NeedsNativeError, match=r"model.pt is refused: TorchScript runs code of its own"):
        load(tmp_path)


def test_a_file_that_is_no_torchscript_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"model.pt cannot be loaded as TorchScript"):
        load(directory(tmp_path, "torchscript"), trust=Trust.NATIVE)


class Branch(torch.nn.Module):
    """A branch on the values, which an allowed program cannot have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.cond(x.sum() > 0, lambda x: x[:, :2] + 1, lambda x: x[:, :2] - 1, (x,))
        return y


def test_a_program_with_more_than_allowed_operators_is_loaded_by_torch_where_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(exported(Branch(), torch.randn(3, 4), dynamic=({0: Dim("rows")},)))
    directory(tmp_path, "pt2")
    with pytest.raises(NeedsNativeError, match=r"it calls 'torch.ops.higher_order.cond'"):
        load(tmp_path)
    assert load(tmp_path, trust=Trust.NATIVE).forward((ROWS,))[0].tolist() == [[2, 3], [6, 7]]


def test_inspect_tells_the_trust_that_an_artefact_needs(tmp_path: Path) -> None:
    told = describe(handler(tmp_path))
    assert as_json(told)["trust"] == "Native"
    assert "trust         Native: handler.py is refused: a handler is code of its own" in as_text(told)
    assert not (tmp_path / "canary").exists()
    (tmp_path / "model.pt2").write_bytes(exported(torch.nn.Linear(4, 2), torch.randn(3, 4)))
    told = describe(directory(tmp_path, "pt2"))
    assert as_json(told)["trust"] == "Data"
    assert told.parameters == 10
