"""Training is small, learns, and gives the same bytes for the same seed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from safetensors.numpy import load_file

from model_server import cli
from model_server.artefact.card import read_card
from model_server.charts import require_charts
from model_server.commands import train as commands
from model_server.errors import ModelError
from model_server.model import load
from model_server.train import Options, Table, read_table, synthetic_table, train
from model_server.train.checkpoint import Checkpoint, key_of
from model_server.train.folds import folds_of, held_back
from model_server.train.options import LOSSES, OPTIMIZERS, SCHEDULES

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.protocol.datatypes import Array


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
        "reference.npz",
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


# -- how it is learned


def test_figures_of_the_training_are_in_the_card(tmp_path: Path) -> None:
    result: Any = train(quadrants(), options(epochs=3, optimizer="AdamW", l2=0.01), tmp_path / "out")
    told: Any = read_card(tmp_path / "out").training
    assert (told["rows"], told["optimizer"], told["l2"], told["epochs_done"]) == (200, "AdamW", 0.01, 3)
    assert told["loss_at_end"] == result["loss"]
    assert "dropout" not in told  # defaults go without saying


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(optimizer: str, tmp_path: Path) -> None:
    result: Any = train(
        quadrants(), options(optimizer=optimizer, momentum=0.9 * (optimizer == "SGD")), tmp_path / "out", quadrants()
    )
    assert result["held_out"]["accuracy"] > 0.9


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "CrossEntropy"])
def test_every_loss_of_numbers_is_made_small(loss: str, tmp_path: Path) -> None:
    table = synthetic_table(3, 2, 100, seed=0)
    result: Any = train(table, options(loss=loss), tmp_path / "out", held_out=table)
    assert result["held_out"]["mse"] < 0.2 < float(table.y.var())


def test_l1_makes_weights_vanish_and_l2_makes_them_small(tmp_path: Path) -> None:
    def sizes(**penalty: float) -> Array:
        train(quadrants(), options(epochs=100, hidden=(16,), **penalty), tmp_path / "out")
        return np.abs(load_file(tmp_path / "out/weights.safetensors")["0.weight"])

    free, l1, l2 = sizes(), sizes(l1=0.02), sizes(l2=0.05)
    assert (l1 < 0.01).sum() > (free < 0.01).sum()
    assert l1.sum() < free.sum()
    assert l2.max() < free.max()


def test_dropout_disturbs_learning_but_not_the_model_that_is_served(tmp_path: Path) -> None:
    plain, dropped = (
        train(quadrants(), options(epochs=5, dropout=share), tmp_path / f"out-{share}") for share in (0.0, 0.5)
    )
    assert plain["loss"] != dropped["loss"]
    x = quadrants().x
    model = load(tmp_path / "out-0.5")
    assert np.array_equal(model.forward((x,))[0], model.forward((x,))[0])
    assert sorted(load_file(tmp_path / "out-0.5/weights.safetensors")) == ["0.bias", "0.weight", "2.bias", "2.weight"]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("Constant", [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ("Linear", [0.5, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("Cosine", [0.5, 1, 1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873]),
        ("Step", [0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_the_learning_rate_rises_and_falls(schedule: str, rates: list[float]) -> None:
    asked = options(schedule=schedule, warmup=2, epochs=8, learning_rate=1.0)
    assert [asked.rate(epoch) for epoch in range(8)] == pytest.approx(rates)


def test_a_training_that_learns_by_heart_ends_early_with_its_best_weights(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noise = Table(random.standard_normal((60, 4)).astype(np.float32), random.integers(0, 2, 60))
    asked = options(epochs=200, validation=0.5, patience=5)
    result: Any = train(noise, asked, tmp_path / "out", held_out=held_back(noise, asked)[1])
    assert result["epochs"] == result["validation"]["epoch"] + 5 < 200
    assert result["held_out"]["loss"] == pytest.approx(result["validation"]["loss"])


def test_scaled_columns_are_folded_into_the_weights(tmp_path: Path) -> None:
    small = synthetic_table(3, 2, 100, seed=0)
    table = Table(small.x * np.float32([1e3, 1, 1e-3]) + 500, small.y * 100 - 7)
    asked = options(loss="MeanSquaredError")
    plain, scaled = (
        train(table, replace(asked, standardize=scales), tmp_path / str(scales), held_out=table)
        for scales in (False, True)
    )
    assert scaled["held_out"]["rmse"] < 20 < plain["held_out"]["rmse"]
    (answer,) = load(tmp_path / "True").forward((table.x,))
    assert np.sqrt(((answer - table.y) ** 2).mean(axis=0)).mean() == pytest.approx(scaled["held_out"]["rmse"], rel=1e-3)
    assert "folded into the weights" in read_card(tmp_path / "True").preprocessing


def test_folds_judge_each_row_once_by_a_model_that_has_not_seen_it(tmp_path: Path) -> None:
    table, asked = quadrants(), options(folds=4)
    judged = [judged for _, judged in folds_of(table, asked)]
    assert sorted(np.concatenate([fold.x for fold in judged])[:, 0]) == sorted(table.x[:, 0])
    counts = [np.bincount(fold.y).tolist() for fold in judged]
    assert np.ptp(counts, axis=0).max() <= 1  # each has its share of the classes
    result: Any = train(table, asked, tmp_path / "out")
    assert 0.8 < result["cross_validation"]["accuracy"]["mean"] <= 1
    assert read_card(tmp_path / "out").training["cross_validation"] == result["cross_validation"]
    assert result["digest"] != train(table, options(), tmp_path / "other")["digest"]  # the card tells of the folds
    assert load(tmp_path / "out").forward((table.x,))[0] == pytest.approx(
        load(tmp_path / "other").forward((table.x,))[0]
    )


def test_pictures_train_a_cnn(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 1, 6, 6)).astype(np.float32)
    x[:20] += 1
    table = Table(x, np.repeat([1, 0], 20))
    result: Any = train(table, options(channels=(4,)), tmp_path / "out", held_out=table)
    assert (result["channels"], result["head"]) == ([1, 4], [8, 2])
    assert result["held_out"]["accuracy"] == 1
    (answer,) = load(tmp_path / "out").forward((x,))
    assert np.array_equal(answer.argmax(axis=1), table.y)


def test_a_loss_that_explodes_is_told(tmp_path: Path) -> None:
    table = synthetic_table(3, 2, 100, seed=0)
    with pytest.raises(ModelError, match="The loss is no number in epoch 2"):
        train(table, options(loss="MeanSquaredError", optimizer="SGD", learning_rate=1e30), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patience": 3}, "give --validation"),
        ({"momentum": 0.9}, "Adam has its own"),
        ({"validation": 1.0}, "from 0 to below 1, not 1"),
        ({"dropout": -0.1}, "--dropout is a share"),
        ({"folds": 1}, "2 or more parts"),
        ({"standardize": True, "channels": (2,)}, "for tables"),
        ({"seed": -1}, "--seed is 0 or above"),
        ({"learning_rate": 0.0}, "--learning-rate is above 0"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        options(**changes)


@pytest.mark.parametrize(
    ("changes", "said"), [({"folds": 300}, "more than the 200 rows"), ({"validation": 0.001}, "cannot be held back")]
)
def test_what_cannot_be_divided_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        train(quadrants(), options(**changes), tmp_path / "out")


# -- tables with named columns


def written(path: Path, **columns: list[object]) -> Path:
    table = pyarrow.table(columns)
    write = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
    write(table, path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_classes_and_columns_keep_their_names(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"t.{kind}", length=[1.0, 2, 3, 4], kind=["b", "a", "b", "a"], width=[1, 0, 1, 0])
    table = read_table(path, "CrossEntropy", target=["kind"])
    assert (table.columns, table.labels, table.y.tolist()) == (("length", "width"), ("a", "b"), [1, 0, 1, 0])
    train(table, options(epochs=1), tmp_path / "out")
    card = read_card(tmp_path / "out")
    assert (card.inputs[0].labels, card.outputs[0].labels) == (("length", "width"), ("a", "b"))
    turned = written(tmp_path / f"h.{kind}", width=[7], kind=["b"], length=[9.0])
    held_out = read_table(turned, "CrossEntropy", target=["kind"], like=table)
    assert (held_out.x.tolist(), held_out.y.tolist()) == ([[9, 7]], [1])


def test_several_columns_of_numbers_can_be_learned(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", a=[1, 2], y=[0.5, 1], b=[3, 4])
    table = read_table(path, "MeanSquaredError", target=["b", "y"])
    assert (table.x.tolist(), table.y.tolist(), table.labels) == ([[1], [2]], [[3, 0.5], [4, 1]], ("b", "y"))


@pytest.mark.parametrize(
    ("columns", "loss", "said"),
    [
        ({"a": [1, 2]}, "CrossEntropy", "lacks the column 'y'"),
        ({"y": [1, 2]}, "CrossEntropy", "nothing to learn"),
        ({"a": ["x", "z"], "y": [1, 2]}, "CrossEntropy", "column 'a' of object, such as 'x'; inputs are numbers"),
        ({"a": [1, None], "y": [1, 2]}, "CrossEntropy", "1 empty values in the column 'a'"),
        ({"a": [1, 2], "y": ["x", "z"]}, "Huber", "column 'y' of object"),
        ({"a": [1, 1e300], "y": [1, 2]}, "CrossEntropy", "no numbers of 32 bits"),
    ],
)
def test_columns_that_cannot_be_learned_are_refused(
    columns: dict[str, list[object]], loss: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=said):
        read_table(written(tmp_path / "t.parquet", **columns), loss)


def test_rows_to_judge_by_are_like_those_that_are_learned(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", a=[1, 2], y=["u", "v"]), "CrossEntropy")
    for columns, said in (({"b": [1], "y": ["u"]}, "unlike those"), ({"a": [1], "y": ["w"]}, "the class 'w'")):
        with pytest.raises(ModelError, match=said):
            read_table(written(tmp_path / "h.csv", **columns), "CrossEntropy", like=table)
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(ModelError, match="is not a parquet file"):
        read_table(tmp_path / "bad.parquet", "CrossEntropy")


# -- a run that is taken up, and what is told of it


def test_a_run_that_is_taken_up_ends_as_if_it_had_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = options(epochs=12, batch_size=50, dropout=0.2, validation=0.2, patience=10, folds=2)
    whole = train(quadrants(), asked, tmp_path / "out")
    write = Checkpoint.write
    for ends_after in (5, 18, 30):  # in a fold, in the next one, in the model itself
        count = iter(range(1, 100))

        def write_and_end(self: Checkpoint, state: Any, *, count: Any = count, last: int = ends_after) -> None:  # noqa: ANN401
            write(self, state)
            if next(count) == last:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoint, "write", write_and_end)
        with pytest.raises(KeyboardInterrupt):
            train(quadrants(), asked, tmp_path / "out", checkpoint_seconds=0)
        monkeypatch.setattr(Checkpoint, "write", write)
        assert (tmp_path / ".out.checkpoint").exists()
        assert train(quadrants(), asked, tmp_path / "out") == whole
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_checkpoint_of_another_training_or_a_broken_one_is_not_taken_up(tmp_path: Path) -> None:
    place = tmp_path / "out"
    whole = train(quadrants(), options(epochs=2), place)
    other = Checkpoint(place, key_of(quadrants(), options(epochs=3)), 0)
    other.write({"fit": {"history": [{"loss": 0.0, "learning_rate": 0.0}] * 2}})
    assert train(quadrants(), options(epochs=2), place) == whole
    other.path.write_bytes(b"half of a")
    assert train(quadrants(), options(epochs=2), place) == whole


def test_a_report_shows_the_curves_and_the_folds(tmp_path: Path) -> None:
    asked = options(epochs=4, validation=0.2, folds=2, schedule="Cosine")
    for place in ("one", "two"):
        result: Any = train(quadrants(), asked, tmp_path / "out", quadrants(), report_dir=tmp_path / place)
    page = (tmp_path / "one/report.md").read_text()
    assert result["digest"] in page
    assert f"| mean | {result['cross_validation']['loss']['mean']:.6g}" in page
    assert f"| accuracy | {result['held_out']['accuracy']:.6g} |" in page
    for name in ("loss", "learning-rate"):
        assert f"]({name}.svg)" in page
        picture = (tmp_path / f"one/{name}.svg").read_bytes()
        assert picture == (tmp_path / f"two/{name}.svg").read_bytes()
        assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314  # our own
    assert "validation" in (tmp_path / "one/loss.svg").read_text()


def test_the_example_is_one_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--synthetic=10,10,100", "--hidden=20", "--loss=MeanSquaredError", "--learning-rate=1e-3", "--epochs=1000"]
    assert cli.main(["train", *flags, f"--out={tmp_path}/out"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["layers"], told["epochs"]) == ([10, 20, 10], 1000)
    assert told["loss"] < 0.1
    assert load(tmp_path / "out").digest == told["digest"]


def test_the_command_line_knows_all_that_can_be_asked_for() -> None:
    assert (commands.LOSSES, commands.OPTIMIZERS, commands.SCHEDULES) == (LOSSES, OPTIMIZERS, SCHEDULES)


def test_a_cnn_needs_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--synthetic=1,1,10", "--loss=Huber", "--architecture=cnn", f"--out={tmp_path}/out"]
    assert cli.main(["train", *flags]) == 1
    assert "give both --architecture cnn and --channels" in capsys.readouterr().err


def test_what_is_not_installed_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModelError, match=r"pictures needs matplotlib.figure.*pip install 'model-server\[train\]'"):
        require_charts()
