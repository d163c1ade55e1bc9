"""`model-server train`: its flags."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.commands.arguments import duration, positive, sizes
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    import argparse

LOSSES = ("CrossEntropy", "MeanSquaredError", "MeanAbsoluteError", "Huber")  # train.options imports torch
OPTIMIZERS = ("SGD", "Adam", "AdamW")
SCHEDULES = ("Constant", "Linear", "Cosine", "Step")


def run(options: argparse.Namespace) -> int:
    """Read the tables, train, print the figures."""
    from model_server.train import Options, read_table, synthetic_table, train  # noqa: PLC0415  # torch

    if (options.architecture == "cnn") != bool(options.channels):
        raise ModelError(
            Reason.INVALID, "--channels are a cnn's; give both --architecture cnn and --channels, or none."
        )
    images, target = options.architecture == "cnn", options.target.split(",")
    if options.data:
        table = read_table(options.data, options.loss, target=target, images=images)
    else:
        size_in, size_out, rows = options.synthetic
        print("training on synthetic data: normal inputs, targets a random linear map of them", file=sys.stderr)
        table = synthetic_table(size_in, size_out, rows, options.seed)
    held_out = options.held_out and read_table(options.held_out, options.loss, target=target, like=table, images=images)
    result = train(
        table,
        Options(
            hidden=tuple(options.hidden),
            channels=tuple(options.channels),
            activation=options.activation,
            loss=options.loss,
            optimizer=options.optimizer,
            learning_rate=options.learning_rate,
            momentum=options.momentum,
            l1=options.l1,
            l2=options.l2,
            dropout=options.dropout,
            schedule=options.schedule,
            warmup=options.warmup,
            epochs=options.epochs,
            batch_size=options.batch_size,
            validation=options.validation,
            patience=options.patience,
            standardize=options.standardize,
            folds=options.folds,
            seed=options.seed,
        ),
        options.out,
        held_out,
        checkpoint_seconds=options.checkpoint_every,
        report_dir=options.report_dir,
    )
    if result:
        print(json.dumps(result))
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be asked for."""
    parser.set_defaults(run=run)
    add = parser.add_argument
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, help="an npz file with the arrays x and y; a csv or parquet file")
    data.add_argument("--synthetic", type=sizes, metavar="IN,OUT,ROWS", help="make up a linear task of these sizes")
    add("--target", default="y", metavar="NAME[,NAME...]", help="the columns of a csv or parquet file that are learned")
    add("--held-out", type=Path, help="a file like that of --data to judge the result by")
    add("--architecture", choices=["mlp", "cnn"], default="mlp", help="the kind of model")
    add("--hidden", type=sizes, default="64", metavar="N[,N...]", help="sizes of the hidden dense layers")
    add("--channels", type=sizes, default=[], metavar="N[,N...]", help="channels of the blocks of a cnn")
    add("--activation", choices=["relu", "tanh", "sigmoid", "gelu"], default="relu", help="between the layers")
    add("--loss", choices=LOSSES, required=True, help="what is made small")
    add("--optimizer", choices=OPTIMIZERS, default="Adam", help="how")
    add("--learning-rate", type=float, default=1e-3, help="the optimizer's step")
    add("--momentum", type=float, default=0.0, help="of SGD")
    add("--l1", type=float, default=0.0, help="weigh the sum of the weights' sizes so much, beside the loss")
    add("--l2", type=float, default=0.0, help="weight decay")
    add("--dropout", type=float, default=0.0, help="leave out this share of the values behind each activation")
    add("--schedule", choices=SCHEDULES, default="Constant", help="how the learning rate falls")
    add("--warmup", type=int, default=0, help="epochs in which the learning rate rises first")
    add("--epochs", type=positive, default=100, help="times that all rows are seen")
    add("--batch-size", type=positive, help="rows per step (all when absent)")
    add("--validation", type=float, default=0.0, help="hold back this share of the rows to watch the loss on")
    add("--patience", type=positive, help="end after so many epochs without a better validation; keep the best weights")
    add("--standardize", action="store_true", help="learn from scaled columns; the model takes and gives raw numbers")
    add("--folds", type=int, default=0, help="cross-validate first, in so many folds")
    add("--seed", type=int, default=0, help="the same seed gives the same model")
    add(
        "--checkpoint-every",
        type=duration,
        default="30s",
        help="keep what is learned this often; the same command goes on from there when it was killed",
    )
    add("--report-dir", type=Path, help="write report.md and its pictures here")
    add("--out", type=Path, required=True, help="the model directory to write; replaced when the new one is complete")
