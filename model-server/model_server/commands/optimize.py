"""`model-server optimize`: its flags."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from model_server.commands.arguments import positive
from model_server.commands.train import LOSSES
from model_server.errors import ModelError, Reason

NUMBERS = ("FP32", "BF16", "INT8")


def run(options: argparse.Namespace) -> int:
    """Read the tables, optimise, print the figures."""
    from model_server.artefact.card import read_card  # noqa: PLC0415
    from model_server.optimize import Bounds, Options, optimize  # noqa: PLC0415  # torch
    from model_server.train import read_table  # noqa: PLC0415

    card = read_card(options.directory)
    loss: Any = options.loss or card.training.get("loss")
    if loss not in LOSSES:
        message = f"The card does not say what was learned; give --loss ({', '.join(LOSSES)})."
        raise ModelError(Reason.INVALID, message)
    target, images = options.target.split(","), card.architecture == "cnn"
    learned = read_table(options.data, loss, target=target, images=images)
    held_out = read_table(options.held_out, loss, target=target, like=learned, images=images)
    told = optimize(
        options.directory,
        learned,
        held_out,
        Options(
            loss=loss,
            bounds=Bounds(options.max_accuracy_loss, options.max_size, options.max_latency),
            neurons=options.neurons,
            weights=options.weights,
            numbers=options.numbers,
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            batch_size=options.batch_size,
            seed=options.seed,
        ),
        out=options.out,
        report_dir=options.report_dir,
    )
    print(json.dumps(told))
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what is tried, and what must hold."""
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("directory", type=Path, help="the model directory, of an mlp or a cnn")
    add("--data", type=Path, required=True, help="what it learned from: npz, csv or parquet, as for train")
    add("--held-out", type=Path, required=True, help="rows that it has not seen, which judge the candidates")
    add("--target", default="y", metavar="NAME[,NAME...]", help="the columns of a csv or parquet file that are learned")
    add("--loss", choices=LOSSES, help="what was made small (what the card says, when absent)")
    add("--neurons", type=_shares, default="25%,50%,75%", help="shares of an mlp's hidden neurons to leave out")
    add("--weights", type=_shares, default="50%,75%,90%", help="shares of the weights to leave out")
    add("--numbers", type=_numbers, default=",".join(NUMBERS), help="kinds of numbers to store weights in")
    add("--epochs", type=positive, default=50, help="times that what is left sees all rows again")
    add("--learning-rate", type=float, default=1e-3, help="the largest step; it falls to nothing")
    add("--batch-size", type=positive, default=64, help="rows per step")
    add("--seed", type=int, default=0, help="the same seed gives the same candidates")
    add("--max-accuracy-loss", type=float, default=0.5, help="points of accuracy, or percent more error")
    add("--max-size", type=_share, metavar="SHARE", help="of the weights, as a share of what it is now, such as 40%%")
    add("--max-latency", type=_share, metavar="SHARE", help="of a pass of 64 rows, as a share of what it is now")
    add("--report-dir", type=Path, help="write report.md and its pictures here")
    add("--out", type=Path, required=True, help="the model directory to write")


def _shares(text: str) -> list[float]:
    return [_share(part) for part in text.split(",")] if text else []


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / 100
    if not text.endswith("%") or not 0 < share < 1:
        message = f"{text!r} is not a share between 0% and 100%"
        raise argparse.ArgumentTypeError(message)
    return share


def _numbers(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in NUMBERS]:
        message = f"{unknown[0]!r} is none of {', '.join(NUMBERS)}"
        raise argparse.ArgumentTypeError(message)
    return names
