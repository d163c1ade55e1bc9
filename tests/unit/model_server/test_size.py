"""What a model needs is counted exactly, and how long it takes is estimated within a factor of two."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from model_server import cli
from model_server.architectures.cnn import CNN, CnnParameters, cnn_card
from model_server.architectures.mlp import MLP, MlpParameters, mlp_card
from model_server.architectures.transformer_encoder import TRANSFORMER_ENCODER, TransformerEncoderParameters
from model_server.artefact.card import Card, CardTensor
from model_server.errors import ModelError
from model_server.model import load
from model_server.precision import Precision
from model_server.size import Options, as_text, size
from model_server.size.calibrate import calibrate, seconds_of
from model_server.size.cost import cost_of
from model_server.size.hardware import ACCELERATORS, POOLING, PRODUCTS, Hardware, read_hardware, write_hardware
from model_server.train.train import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.protocol.datatypes import Array

MACHINE = Hardware(
    name="m",
    memory_bytes=10_000,
    runtime_bytes=1000,
    operations_per_second={PRODUCTS: {"Float32": ((1.0, 1e6), (100.0, 1e8))}, POOLING: {"Float32": ((1.0, 1e3),)}},
    bytes_per_second=((1.0, 1e6),),
    step_seconds=1e-3,
    pass_seconds=1e-2,
)


@pytest.fixture
def perceptron(tmp_path: Path) -> Path:
    parameters = MlpParameters((10, 20, 10))
    write_model(tmp_path / "mlp", mlp_card(parameters), MLP.build(parameters).eval(), np.ones((2, 10), np.float32))
    return tmp_path / "mlp"


def test_steps_operations_and_memory_are_counted() -> None:
    module = MLP.build(MlpParameters((10, 20, 10)))
    cost = cost_of(lambda: module(torch.ones(3, 10)))
    assert cost.operations == 2 * 3 * (10 * 20 + 20 * 10)
    assert len([step for step in cost.steps if step.operations]) == 2
    assert 3 * 40 <= cost.peak_values <= 3 * 50  # what goes into the activation and what comes out, and the input


def test_memory_is_given_back_and_views_take_none() -> None:
    def work() -> torch.Tensor:
        x = torch.ones(100)
        for _ in range(10):
            x = x.view(10, 10).T.reshape(10, 10) + 1
        return x

    assert cost_of(work).peak_values <= 300


def test_a_step_takes_what_the_slower_of_computing_and_moving_takes() -> None:
    assert MACHINE.seconds(PRODUCTS, 1000, 1000, "Float32") == pytest.approx(1e-3 + 4e-3)  # moving: 4 bytes each
    assert MACHINE.seconds(PRODUCTS, 1000, 100, "Float32") == pytest.approx(1e-3 + 4e-4)  # ten for each value: 1e7
    assert MACHINE.seconds(PRODUCTS, 1e6, 100, "Float32") == pytest.approx(1e-3 + 1e-2)  # beyond the curve: its end
    assert MACHINE.seconds(POOLING, 1000, 1000, "Float32") == pytest.approx(1e-3 + 1)
    assert MACHINE.seconds("convolutions", 1e6, 100, "Float32") == MACHINE.seconds(PRODUCTS, 1e6, 100, "Float32")


def test_what_fits_is_told_for_each_machine_and_precision(perceptron: Path) -> None:
    small = Hardware(**{**{name: getattr(MACHINE, name) for name in MACHINE.__struct_fields__}, "memory_bytes": 2000})
    told = size(perceptron, Options(batch=4, hardware=(small, MACHINE, *ACCELERATORS)))
    weights = 10 * 20 + 20 + 20 * 10 + 10
    assert told["parameters"] == weights
    assert told["weights_bytes"] == {
        name: weights * width for name, width in zip(told["weights_bytes"], (4, 2, 2, 1), strict=True)
    }
    assert told["inputs"] == {"x": [4, 10]}
    assert [each["fits"] for each in told["hardware"]] == [False, *[True] * (1 + len(ACCELERATORS))]
    assert told["smallest"] == "m"
    assert told["hardware"][1]["precisions"]["Float32"]["seconds_per_batch"] > 1e-2
    assert "the smallest that fits: m" in as_text(told)
    assert "none of these" in as_text(size(perceptron, Options(hardware=(small,))))


def test_a_profile_is_a_file(tmp_path: Path) -> None:
    write_hardware(tmp_path / "m.json", MACHINE)
    assert read_hardware(tmp_path / "m.json") == MACHINE
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(ModelError, match=r"m\.json is no hardware profile: .*--calibrate"):
        read_hardware(tmp_path / "m.json")


def test_the_command_tells(perceptron: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_hardware(tmp_path / "m.json", MACHINE)
    assert cli.main(["size", str(perceptron), f"--hardware={tmp_path}/m.json", "--json", "--batch=16"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["hardware"]][:2] == ["m", "nvidia-t4"]
    assert told["batch"] == 16


def models(folder: Path) -> dict[str, tuple[Path, Array]]:
    """Make three, and rows for each."""
    random = np.random.default_rng(0)
    layers = MlpParameters((256, 512, 512, 10))
    blocks = CnnParameters((3, 32, 64), (10,))
    words = TransformerEncoderParameters(width=128, depth=3, heads=4, feedforward=512, output=10)
    described: dict[str, object] = {"width": 128, "depth": 3, "heads": 4, "feedforward": 512, "output": 10}
    vectors = CardTensor("x", "FP32", (-1, -1, 128))
    answer = CardTensor("y", "FP32", (-1, 10))
    encoder = Card(
        format="safetensors",
        architecture="transformer-encoder",
        parameters=described,
        inputs=(vectors,),
        outputs=(answer,),
    )
    made: dict[str, tuple[Any, Card, tuple[int, ...]]] = {
        "mlp": (MLP.build(layers), mlp_card(layers), (256,)),
        "cnn": (CNN.build(blocks), cnn_card(blocks, 32, 32), (3, 32, 32)),
        "encoder": (TRANSFORMER_ENCODER.build(words), encoder, (32, 128)),
    }
    found = {}
    for name, (module, card, shape) in made.items():
        rows = random.random((16, *shape), dtype=np.float32)
        write_model(folder / name, card, module.eval(), rows)
        found[name] = (folder / name, rows)
    return found


def test_estimates_are_within_twice_of_what_is_measured(tmp_path: Path) -> None:
    """A neighbour may slow either of the two down: what counts is one try in which both were let alone."""
    known = models(tmp_path)
    forwards = {name: load(path, precision=Precision.FLOAT32).forward for name, (path, _) in known.items()}
    told: list[dict[str, float]] = []
    for _ in range(5):
        machine = calibrate()
        ratios = {}
        for name, (path, rows) in known.items():
            estimate = size(path, Options(batch=len(rows), hardware=(machine,)))["hardware"][0]["precisions"]["Float32"]
            measured = seconds_of(lambda f=forwards[name], x=rows: f((x,)))  # type: ignore[misc]  # bound now
            ratios[name] = estimate["seconds_per_batch"] / measured
        told.append(ratios)
        if all(0.5 < ratio < 2 for ratio in ratios.values()):
            return
    pytest.fail(str(told))
