"""Each named architecture computes what torch's own layers compute, and says what its signature has to be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model_server.errors import ModelError, RequestError
from model_server.model import Model, load

if TYPE_CHECKING:
    from pathlib import Path

ENCODER = {"width": 8, "depth": 2, "heads": 2, "feedforward": 16, "output": 3}


def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def directory(
    path: Path, architecture: str, parameters: object, weights: nn.Module, *inputs: object, output: object
) -> Path:
    card = {"format": "safetensors", "architecture": architecture, "parameters": parameters}
    (path / "model.json").write_text(json.dumps({**card, "inputs": inputs, "outputs": [output]}))
    save_file(weights.state_dict(), path / "weights.safetensors")
    return path


def answer(model: Model, *inputs: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(model.forward(inputs)[0].copy())


def close(answer: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("batch_norm", [False, True])
@torch.inference_mode()
def test_a_cnn_is_the_plain_sequence_of_its_layers(batch_norm: bool, tmp_path: Path) -> None:
    def block(channels_in: int, channels_out: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(channels_out)] if batch_norm else []
        return [nn.Conv2d(channels_in, channels_out, 5, padding=2), *norm, nn.GELU(), nn.MaxPool2d(2, ceil_mode=True)]

    plain = nn.Sequential(
        *block(3, 4), *block(4, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 2)
    )
    plain(torch.randn(16, 3, 9, 9))  # moves the running averages
    plain.eval()
    parameters = {"channels": [3, 4, 6], "kernel_size": 5, "batch_norm": batch_norm, "head": [5, 2]}
    model = load(
        directory(
            tmp_path,
            "cnn",
            {**parameters, "activation": "gelu"},
            plain,
            tensor("x", "UINT8", -1, 3, -1, -1),
            output=tensor("y", "FP32", -1, 2),
        )
    )
    for size in (1, 2, 11):
        pixels = np.random.default_rng(size).integers(0, 256, (2, 3, size, 7), dtype=np.uint8)
        close(answer(model, pixels), plain(torch.from_numpy(pixels).float()))


class Encoder(nn.Module):
    """The architecture's weights by torch's own layers."""

    def __init__(self, *, vocabulary: int = 0, positions: int = 0, norm_first: bool = False) -> None:
        super().__init__()
        if vocabulary:
            self.tokens = nn.Embedding(vocabulary, 8)
        if positions:
            self.positions = nn.Embedding(positions, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True, norm_first=norm_first)
        norm = nn.LayerNorm(8) if norm_first else None
        self.encoder = nn.TransformerEncoder(layer, 2, norm=norm, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)
        self.eval()


@torch.inference_mode()
def test_an_encoder_answers_for_rows_of_vectors(tmp_path: Path) -> None:
    plain = Encoder(norm_first=True)
    x, y = tensor("x", "FP32", -1, -1, 8), tensor("y", "FP32", -1, 3)
    model = load(directory(tmp_path, "transformer-encoder", {**ENCODER, "norm_first": True}, plain, x, output=y))
    rows = torch.randn(2, 5, 8)
    close(answer(model, rows.numpy()), plain.head(plain.encoder(rows).mean(dim=1)))


@pytest.mark.parametrize("pool", ["mean", "first", "none"])
@torch.inference_mode()
def test_an_encoder_answers_for_masked_tokens(pool: str, tmp_path: Path) -> None:
    plain = Encoder(vocabulary=11, positions=6)
    shape = (-1, 4, 3) if pool == "none" else (-1, 3)
    parameters = {**ENCODER, "vocabulary": 11, "positions": 6, "mask": True, "pool": pool}
    inputs = (tensor("ids", "INT64", -1, 4), tensor("mask", "BOOL", -1, 4))
    model = load(
        directory(tmp_path, "transformer-encoder", parameters, plain, *inputs, output=tensor("y", "FP32", *shape))
    )
    ids = torch.tensor([[1, 2, 10, 0], [3, 4, 5, 6]])
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    answered = answer(model, ids.numpy(), mask.numpy())
    for row, real in enumerate((2, 4)):
        alone = plain.encoder(plain.tokens(ids[row : row + 1, :real]) + plain.positions.weight[:real])
        pooled = {"mean": alone.mean(dim=1)[0], "first": alone[0, 0], "none": alone[0]}[pool]
        close(answered[row, :real] if pool == "none" else answered[row], plain.head(pooled))


@pytest.mark.parametrize(
    ("ids", "mask", "said"),
    [
        ([[11]], [[True]], "A token is 11; this model's are 0 to 10."),
        ([[-1]], [[True]], "A token is -1; this model's are 0 to 10."),
        ([[1]], [[False]], "The mask of a row is false everywhere"),
    ],
)
def test_what_an_encoder_cannot_read_is_its_senders_fault(
    ids: list[list[int]], mask: list[list[bool]], said: str, tmp_path: Path
) -> None:
    parameters = {**ENCODER, "vocabulary": 11, "mask": True}
    inputs = (tensor("ids", "INT64", -1, -1), tensor("mask", "BOOL", -1, -1))
    plain = Encoder(vocabulary=11)
    model = load(
        directory(tmp_path, "transformer-encoder", parameters, plain, *inputs, output=tensor("y", "FP32", -1, 3))
    )
    with pytest.raises(RequestError, match=said) as caught:
        model.forward((np.array(ids), np.array(mask)))
    assert caught.value.status == 400


IDS, X, Y = tensor("ids", "INT64", -1, 4), tensor("x", "FP32", -1, -1, 8), tensor("y", "FP32", -1, 3)
IMAGE = tensor("x", "FP32", -1, 3, 9, 9)


@pytest.mark.parametrize(
    ("architecture", "parameters", "inputs", "output", "said"),
    [
        ("cnn", {"channels": [3, 4], "head": []}, [IMAGE], Y, "length >= 1"),
        ("cnn", {"channels": [3, 4], "head": [3], "kernel_size": 2}, [IMAGE], Y, "an odd kernel_size, not 2"),
        ("cnn", {"channels": [1, 4], "head": [3]}, [IMAGE], Y, r"one input of the shape \[-1, 1, height, width\]"),
        ("cnn", {"channels": [3, 4], "head": [2]}, [IMAGE], Y, r"one output of the shape \[-1, 2\]"),
        ("transformer-encoder", {**ENCODER, "heads": 3}, [X], Y, "share evenly, not 8 among 3"),
        ("transformer-encoder", {**ENCODER, "width": 6}, [X], Y, r"first input of the shape \[-1, length, 6\]"),
        ("transformer-encoder", {**ENCODER, "vocabulary": 9}, [X], Y, "first input of INT32 or INT64 of the shape"),
        ("transformer-encoder", {**ENCODER, "positions": 9}, [X], Y, "the length of its inputs is a number up to that"),
        ("transformer-encoder", {**ENCODER, "vocabulary": 9, "positions": 3}, [IDS], Y, "a number up to that"),
        ("transformer-encoder", ENCODER, [X, IDS], Y, "has one input"),
        ("transformer-encoder", {**ENCODER, "vocabulary": 9, "mask": True}, [IDS], Y, r"\[-1, 4\], the mask"),
        ("transformer-encoder", {**ENCODER, "pool": "none"}, [X], Y, r"one output of the shape \[-1, -1, 3\]"),
        ("transformer-encoder", {**ENCODER, "dropout": 1}, [X], Y, "unknown field `dropout`"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(
    architecture: str, parameters: object, inputs: list[object], output: object, said: str, *, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said):
        load(directory(tmp_path, architecture, parameters, nn.Linear(1, 1), *inputs, output=output))
