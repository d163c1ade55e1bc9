"""Training is small, learns, and gives the same bytes for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server.errors import ModelError
from model_server.model import load
from model_server.train import Options, Table, read_table, synthetic_table, train

if TYPE_CHECKING:
    from pathlib import Path


def options(**changes: object) -> Options:
    made = {
        "hidden": (8,),
        "activation": "relu",
        "loss": "CrossEntropy",
        "optimizer": "Adam",
        "learning_rate": 0.05,
        "epochs": 40,
        "batch_size": None,
        "seed": 0,
    }
    return Options(**{**made, **changes})


def quadrants() -> Table:
    x = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    return Table(x, (2 * (x[:, 0] > 0) + (x[:, 1] > 0)).astype(np.int64))


def test_it_learns_and_what_it_wrote_can_be_served(tmp_path: Path) -> None:
    table = quadrants()
    result: Any = train(table, options(), tmp_path / "out", held_out=table)
    assert result["held_out"]["accuracy"] > 0.9
    model = load(tmp_path / "out")
    assert model.digest == result["digest"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "golden.npz",
        "model.json",
        "weights.safetensors",
    ]
    (answer,) = model.forward((table.x,))
    assert (answer.argmax(axis=1) == table.y).mean() == result["held_out"]["accuracy"]


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    digests = [
        train(quadrants(), options(seed=seed, epochs=2, batch_size=50), tmp_path / "out")["digest"]
        for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_regression_on_made_up_data_is_learned(tmp_path: Path) -> None:
    table = synthetic_table(3, 2, 100, seed=0)
    result: Any = train(table, options(loss="MeanSquaredError"), tmp_path / "out", held_out=table)
    assert result["layers"] == [3, 8, 2]
    assert result["held_out"]["loss"] < 0.1 < float(table.y.var())


@pytest.mark.parametrize(
    ("arrays", "loss", "said"),
    [
        ({"x": np.ones((2, 2))}, "CrossEntropy", "lacks the array"),
        ({"x": np.ones((2, 2)), "y": np.ones(3)}, "MeanSquaredError", "2 rows of x and 3 of y"),
        ({"x": np.ones((0, 2)), "y": np.ones(0)}, "MeanSquaredError", "above 0"),
        ({"x": np.ones((2, 2)), "y": np.ones(2)}, "CrossEntropy", "one class number"),
        ({"x": np.ones((2, 2)), "y": np.array([0, -1])}, "CrossEntropy", "one class number"),
        ({"x": np.array([print, print]), "y": np.ones(2)}, "CrossEntropy", "without pickles"),
    ],
)
def test_a_table_that_cannot_be_learned_is_refused(
    arrays: dict[str, Any], loss: str, said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ModelError, match=said):
        read_table(tmp_path / "t.npz", loss)


def test_images_are_laid_flat(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.ones((3, 8, 8), dtype=np.uint8), y=np.array([0, 1, 2], dtype=np.uint8))
    table = read_table(tmp_path / "t.npz", "CrossEntropy")
    assert (table.x.shape, table.x.dtype, table.y.dtype) == ((3, 64), np.float32, np.int64)
