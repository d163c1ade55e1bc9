"""`model-server train`: a table of numbers becomes a model directory. The same seed gives the same bytes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from model_server.architectures.mlp import MLP, MlpParameters, mlp_card
from model_server.artefact.card import GOLDEN, WEIGHTS, write_card
from model_server.artefact.digest import content_of
from model_server.artefact.publish import publish, staging
from model_server.errors import ModelError, Reason
from model_server.model import load, use_one_thread

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.architectures.architecture import Activation
    from model_server.protocol.datatypes import Array

Loss = Literal["CrossEntropy", "MeanSquaredError"]
_LOSSES: dict[Loss, type[nn.Module]] = {"CrossEntropy": nn.CrossEntropyLoss, "MeanSquaredError": nn.MSELoss}
_OPTIMIZERS = {"Adam": torch.optim.Adam}
GOLDEN_ROWS = 8


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of inputs and what is right for them: class numbers, or rows of targets."""

    x: Array
    y: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to train; the names are torch's."""

    hidden: tuple[int, ...]
    activation: Activation
    loss: Loss
    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int | None
    seed: int


def read_table(path: Path, loss: Loss) -> Table:
    """Read the arrays `x` and `y` of an npz file, shaped for the loss."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
    except KeyError as error:
        raise ModelError(Reason.INVALID, f"{path} lacks the array {error.args[0]}; it holds x and y.") from error
    except FileNotFoundError:
        raise ModelError(Reason.NOT_FOUND, f"{path} does not exist.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(Reason.INVALID, f"{path} is not an npz file without pickles: {error}.") from error
    if len(x) != len(y) or len(x) == 0:
        raise ModelError(
            Reason.INVALID, f"{path} has {len(x)} rows of x and {len(y)} of y; both need the same, above 0."
        )
    rows = x.reshape(len(x), -1).astype(np.float32)
    if loss == "MeanSquaredError":
        return Table(rows, y.reshape(len(y), -1).astype(np.float32))
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0:
        raise ModelError(Reason.INVALID, f"{path}: for CrossEntropy y holds one class number, from 0, per row.")
    return Table(rows, y.astype(np.int64))


def synthetic_table(size_in: int, size_out: int, rows: int, seed: int) -> Table:
    """Make up a task that can be learned: normal inputs, and targets that are a fixed random linear map of them."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, size_in)).astype(np.float32)
    true_map = random.standard_normal((size_in, size_out)).astype(np.float32) / np.sqrt(size_in, dtype=np.float32)
    return Table(x, x @ true_map)


def train(table: Table, options: Options, out: Path, held_out: Table | None = None) -> dict[str, object]:
    """Train, write the model directory all at once, and say how good it is."""
    use_one_thread()
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(mode=True)
    size_out = int(table.y.max()) + 1 if options.loss == "CrossEntropy" else table.y.shape[1]
    parameters = MlpParameters((table.x.shape[1], *options.hidden, size_out), options.activation)
    module = MLP.build(parameters)
    loss = _fit(module, table, options)
    with staging(out.absolute().parent) as place:
        staged = place / out.name
        staged.mkdir()
        card = mlp_card(parameters)
        write_card(staged, card)
        save_file(module.state_dict(), staged / WEIGHTS)
        served = load(staged)  # the golden outputs are what the server itself gives
        (outputs,) = served.forward((table.x[:GOLDEN_ROWS],))
        golden: dict[str, Any] = {"inputs.x": table.x[:GOLDEN_ROWS], "outputs.y": outputs}
        np.savez(staged / GOLDEN, **golden)
        result = {"digest": content_of(staged).digest, "layers": list(parameters.layers), "loss": loss}
        if held_out is not None:
            result["held_out"] = _judge(module, held_out, options.loss)
        publish(staged, out)
    return result


def _fit(module: nn.Module, table: Table, options: Options) -> float:
    x, y = torch.from_numpy(table.x), torch.from_numpy(table.y)
    criterion = _LOSSES[options.loss]()
    optimizer = _OPTIMIZERS[options.optimizer](module.parameters(), lr=options.learning_rate)
    size = options.batch_size or len(x)
    total = 0.0
    for _ in range(options.epochs):
        total = 0.0
        for rows in torch.randperm(len(x)).split(size):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            loss = criterion(module(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
    return total / len(x)


def _judge(module: nn.Module, table: Table, loss: Loss) -> dict[str, object]:
    with torch.inference_mode():
        answers = module(torch.from_numpy(table.x))
        targets = torch.from_numpy(table.y)
        judged: dict[str, object] = {"rows": len(table.x), "loss": _LOSSES[loss]()(answers, targets).item()}
        if loss == "CrossEntropy":
            judged["accuracy"] = (answers.argmax(dim=1) == targets).double().mean().item()
    return judged
