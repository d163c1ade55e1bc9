"""`model-server convert`: its flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Write the model directory, print its digest."""
    from model_server.convert import convert  # noqa: PLC0415  # torch

    print(json.dumps(convert(options.directory, options.out)))
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say from where to where."""
    parser.set_defaults(run=run)
    parser.add_argument("directory", type=Path, help="config.json, model.safetensors and tokenizer.json of a BERT")
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
