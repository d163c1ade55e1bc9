"""A program computes here what torch computes, and is held to what it was exported for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from model_server.errors import ModelError, RequestError
from model_server.model import load
from model_server.program.run import load_program
from unit.model_server.program.exported import (
    Dim,
    Perceptron,
    changed,
    directory,
    entries_of,
    exported,
    packed,
    perceptron,
)

if TYPE_CHECKING:
    from pathlib import Path


class Picture(nn.Module):
    """Convolution, running averages, work in place, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.relu(self.norm(self.conv(x)))
        best = y.flatten(1).max(dim=1)
        return y.mean(dim=(2, 3)), best.values


class Shapes(nn.Module):
    """Arithmetic on sizes, lists of tensors, constants of every kind."""

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        rows, length = x.shape[0], x.shape[1]
        y = torch.cat([x, x.flip(1)], dim=1).reshape(rows, 2, length)
        y = y.masked_fill(y > 1, float("-inf")).to(torch.float64).softmax(-1).float()
        first, second = y.unbind(1)
        picked = first[torch.arange(rows), ids % length] + torch.zeros(rows, dtype=torch.float32)
        return torch.einsum("bi,bj->b", first, second) + picked * (length // 2)


class Recurrent(nn.Module):
    """What torch keeps whole: an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 6, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last: torch.Tensor = self.lstm(x)[0][:, -1]
        return last


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


@pytest.mark.parametrize(
    ("make", "examples", "dynamic"),
    [
        (Perceptron, [torch.randn(3, 4)], None),
        (Picture, [torch.randn(2, 3, 9, 9)], None),
        (Shapes, [torch.randn(4, 6), torch.arange(4)], ({0: Dim.AUTO, 1: Dim.AUTO}, {0: Dim.AUTO})),
        (encoder, [torch.randn(3, 5, 8)], ({0: Dim("rows"), 1: Dim("length", min=2, max=9)},)),
    ],
    ids=["perceptron", "picture", "shapes", "encoder"],
)
def test_it_computes_what_the_module_did(make: Any, examples: list[torch.Tensor], dynamic: Any, tmp_path: Path) -> None:  # noqa: ANN401
    torch.manual_seed(0)
    module = make().eval()
    path = tmp_path / "model.pt2"
    path.write_bytes(exported(module, *examples, dynamic=dynamic))
    _, program = load_program(path)
    for rows in (1, 2, 7):
        inputs = [each[:1].repeat(rows, *[1] * (each.dim() - 1)) for each in examples]
        with torch.inference_mode():
            expected = module(*inputs)
            answers = program(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for answer, right in zip(answers, expected, strict=True):
            torch.testing.assert_close(answer, right, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The tensor attributes")
def test_a_recurrent_model_computes_too(tmp_path: Path) -> None:
    module = Recurrent().eval()
    (tmp_path / "model.pt2").write_bytes(exported(module, torch.randn(3, 4, 5)))
    rows = torch.randn(2, 4, 5)
    with torch.inference_mode():
        torch.testing.assert_close(load_program(tmp_path / "model.pt2")[1](rows)[0], module(rows))


def test_a_directory_with_a_program_is_a_model(tmp_path: Path) -> None:
    model = load(directory(tmp_path, perceptron()))
    rows = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    with torch.inference_mode():
        expected = Perceptron()(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(model.forward((rows,))[0], expected, rtol=1e-5)
    assert model.platform == "pytorch_pt2"


def test_gradients_flow_through_it(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(perceptron())
    x = torch.ones(1, 4, requires_grad=True)
    load_program(tmp_path / "model.pt2")[1](x)[0].sum().backward()
    y = torch.ones(1, 4, requires_grad=True)
    Perceptron()(y).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


class LongRows(nn.Module):
    """Takes another way for short rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1, keepdim=True) if x.shape[1] > 5 else x[:, :1]


def test_shapes_that_it_was_not_exported_for_are_refused_and_not_answered_wrongly(tmp_path: Path) -> None:
    archive = exported(LongRows(), torch.randn(3, 6), dynamic=({0: Dim("rows"), 1: Dim.AUTO},))
    model = load(directory(tmp_path, archive, inputs=(8,), outputs=(1,)))
    assert model.forward((np.ones((1, 8), np.float32),))[0].tolist() == [[8]]
    with pytest.raises(
        RequestError, match=r"shapes \[1, 4\] do not fit: the model was exported for .*size\(\)\[1\]"
    ) as caught:
        model.forward((np.ones((1, 4), np.float32),))
    assert caught.value.status == 400


class Counter(nn.Module):
    """Remembers how often it was asked."""

    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(1)
        return x[:, :2] + self.count


def test_a_program_that_remembers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="changes its tensor 'count' while it runs; a served model keeps no state"):
        load(directory(tmp_path, exported(Counter(), torch.randn(3, 4))))


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 5]}]}, r"has the shape \[-1, 4\], not \[-1, 5\]"),
        ({"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]}, "is of torch.float32, not FP64"),
        ({"inputs": [{"name": n, "datatype": "FP32", "shape": [-1, 4]} for n in "ab"]}, "takes 1 inputs, not 2"),
        ({"outputs": [{"name": n, "datatype": "FP32", "shape": [-1, 2]} for n in "ab"]}, "gives 1 outputs, not 2"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(card: dict[str, Any], said: str, tmp_path: Path) -> None:
    directory(tmp_path, perceptron())
    written = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**written, **card}))
    with pytest.raises(ModelError, match=said):
        load(tmp_path)


def test_a_fixed_number_of_rows_is_refused_with_the_remedy(tmp_path: Path) -> None:
    archive = exported(Perceptron(), torch.randn(3, 4), dynamic=({},))
    with pytest.raises(ModelError, match="number of rows has to be free; export it with dynamic_shapes"):
        load(directory(tmp_path, archive))


def test_a_torch_that_is_too_old_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.6.0+debian")
    with pytest.raises(ModelError, match=r"needs torch 2.10 or newer to be served; this server has 2.6.0"):
        load(directory(tmp_path, perceptron()))


def test_an_operator_that_this_torch_lacks_is_named(tmp_path: Path) -> None:
    def rename(document: Any) -> None:  # noqa: ANN401
        document["graph_module"]["graph"]["nodes"][1]["target"] = "torch.ops.aten.relu.future"

    with pytest.raises(ModelError, match=r"calls 'torch.ops.aten.relu.future', which torch .* does not have"):
        load(directory(tmp_path, changed("models/model.json", rename)))


def test_tensors_that_shared_memory_share_it_again(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4, bias=False)
            self.b = nn.Linear(4, 4, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.b(self.a(x))
            return y

    archive = exported(Tied(), torch.randn(3, 4))
    assert len([name for name in entries_of(archive) if "weight_" in name]) == 1
    (tmp_path / "model.pt2").write_bytes(archive)
    program = load_program(tmp_path / "model.pt2")[1]
    assert len({buffer.untyped_storage().data_ptr() for buffer in program.buffers()}) == 1


def test_what_was_packed_again_unchanged_is_still_fine(tmp_path: Path) -> None:
    """So that the refusals beside this file are for their changes, and not for how they were packed."""
    load(directory(tmp_path, packed(entries_of(perceptron()))))
