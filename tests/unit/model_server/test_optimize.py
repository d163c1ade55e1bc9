"""A model becomes a smaller one: what is left out, what is chosen, what is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from model_server.architectures.mlp import MLP, MlpParameters
from model_server.artefact.card import read_card
from model_server.cli import main
from model_server.model import load
from model_server.optimize.choose import Bounds, Measured, best, front
from model_server.optimize.prune import drop_weights, without_neurons

if TYPE_CHECKING:
    from pathlib import Path


def measured(name: str, lost: float, latency: float, size: float) -> Measured:
    return Measured(name, lost, latency, size, figure=1 - lost)


ACCURATE, FAST, SMALL = measured("accurate", 0, 1, 1), measured("fast", 1, 0.4, 0.9), measured("small", 2, 0.9, 0.3)
BEATEN = measured("beaten", 1, 0.5, 0.9)
ALL = [BEATEN, ACCURATE, FAST, SMALL]


def test_the_front_has_what_no_other_beats_in_everything() -> None:
    assert front(ALL) == [ACCURATE, FAST, SMALL]
    assert front([ACCURATE, ACCURATE]) == [ACCURATE, ACCURATE], "equals do not beat each other"


@pytest.mark.parametrize(
    ("bounds", "chosen"),
    [
        (Bounds(9), SMALL),
        (Bounds(1), FAST),
        (Bounds(9, latency=0.5), FAST),
        (Bounds(0), ACCURATE),
        (Bounds(0, size=0.5), None),
    ],
)
def test_the_smallest_within_the_bounds_is_chosen(bounds: Bounds, chosen: Measured | None) -> None:
    assert best(ALL, bounds) == chosen


def perceptron(*layers: int) -> nn.Module:
    torch.manual_seed(0)
    return MLP.build(MlpParameters(layers))


@torch.no_grad()
def test_neurons_that_nobody_reads_go_first() -> None:
    module = perceptron(5, 8, 6, 3)
    module[2].weight[:, ::2] = 0
    module[4].weight[:, 3:] = 0
    x = torch.randn(4, 5)
    smaller, parameters = without_neurons(module, MlpParameters((5, 8, 6, 3)), 0.5)
    assert parameters.layers == (5, 4, 3, 3)
    torch.testing.assert_close(smaller(x), module(x))


def test_weights_that_are_left_out_stay_out_while_the_rest_learns() -> None:
    module = perceptron(5, 8, 3)
    drop_weights(module, 0.75)
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    optimizer = torch.optim.Adam(module.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.randn(9, 5)).square().sum().backward()
        optimizer.step()
    for name, weight in module.named_parameters():
        assert not torch.equal(weight, before[name])
        if weight.ndim > 1:
            assert (weight == 0).sum() == int(0.75 * weight.numel())
            assert not weight[before[name] == 0].any()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a model of it."""
    place = tmp_path_factory.mktemp("digits")
    x, y = load_digits(return_X_y=True)
    for name, rows in (("train", slice(0, 1400)), ("held-out", slice(1400, None))):
        np.savez(place / f"{name}.npz", x=x[rows].astype(np.float32), y=y[rows])
    asked = ["--loss", "CrossEntropy", "--hidden", "48", "--epochs", "15", "--batch-size", "64"]
    assert main(["train", "--data", str(place / "train.npz"), *asked, "--out", str(place / "model")]) == 0
    return place


def optimize(digits: Path, out: Path, *more: str) -> int:
    data = ["--data", str(digits / "train.npz"), "--held-out", str(digits / "held-out.npz")]
    few = ["--neurons", "50%", "--weights", "80%", "--epochs", "8"]
    return main(["optimize", str(digits / "model"), *data, *few, "--out", str(out), *more])


def test_digits_become_small_and_stay_a_plain_perceptron(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--max-accuracy-loss", "2", "--max-size", "40%", "--report-dir", str(tmp_path / "report")]
    assert optimize(digits, tmp_path / "small", *asked) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    before, model = load(digits / "model"), load(tmp_path / "small")
    assert told["digest"] == model.digest != before.digest
    size, was = ((path / "weights.safetensors").stat().st_size for path in (tmp_path / "small", digits / "model"))
    assert told["size"] == pytest.approx(size / was, abs=1e-3)
    assert size / was <= 0.4
    assert model.card.architecture == "mlp"
    assert model.card.training["optimized"] == {key: value for key, value in told.items() if key != "digest"}
    assert model.card.training["optimized"]["from"] == before.digest

    with np.load(digits / "held-out.npz") as data:
        x, y = data["x"], data["y"]
    accuracies = [float(np.mean(each.forward((x,))[0].argmax(1) == y)) for each in (before, model)]
    assert told["accuracy"] == pytest.approx(accuracies[1], abs=1e-6), "what is written is what was judged"
    assert told["lost"] == pytest.approx(100 * (accuracies[0] - accuracies[1]), abs=1e-3)
    assert told["lost"] <= 2

    page = (tmp_path / "report" / "report.md").read_text()
    assert f"Chosen: {told['how']}." in page
    for name in ("as it is, FP32", "50% of the neurons out, INT8", "80% of the weights out, BF16"):
        assert f"| {name} |" in page
    assert {path.name for path in (tmp_path / "report").glob("*.svg")} == {"size.svg", "latency.svg"}


def test_bounds_that_nothing_keeps_are_told_and_nothing_is_written(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimize(digits, tmp_path / "none", "--max-size", "1%") == 1
    assert "candidates keeps the bounds. The most accurate, " in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_model_of_another_kind_is_not_optimised(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    card = msgspec.structs.replace(read_card(digits / "model"), architecture="transformer-encoder")
    (model / "model.json").write_bytes(msgspec.json.encode(card))
    data = ["--data", str(digits / "train.npz"), "--held-out", str(digits / "held-out.npz")]
    assert main(["optimize", str(model), *data, "--out", str(tmp_path / "out")]) == 1
    assert "transformer-encoder is not optimised; mlp or cnn is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--neurons", "0.5"], "'0.5' is not a share between 0% and 100%"),
        (["--numbers", "FP8"], "'FP8' is none of FP32, BF16, INT8"),
        (["--max-size", "100%"], "is not a share"),
    ],
)
def test_wrong_flags_are_told(flags: list[str], said: str, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize(digits, digits / "out", *flags) == 2
    assert said in capsys.readouterr().err
