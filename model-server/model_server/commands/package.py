"""`model-server package`: its flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Write the package, print its digest."""
    from model_server.artefact.card import Trust  # noqa: PLC0415
    from model_server.package import Options, package  # noqa: PLC0415  # torch

    told = package(
        options.directory,
        options.out,
        Options(
            description=options.description,
            evaluation=options.evaluation,
            examples=options.examples,
            reference=options.reference,
            sign_key=options.sign_key,
            trust=Trust(options.trust),
        ),
    )
    print(json.dumps(told))
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be added."""
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("directory", type=Path, help="the model directory")
    add("--out", type=Path, required=True, help="the directory to write, or an archive if it ends in .tar.gz")
    add("--description", default="", help="what the model is for")
    add("--evaluation", type=Path, help="the file that evaluate wrote (--output): its figures go into the card")
    add("--examples", type=Path, help="an npz file; its first rows become the golden examples")
    add("--reference", type=Path, help="an npz file of what the model learned from; drift is measured against it")
    add("--sign-key", type=Path, help="sign with this private key (PEM, elliptic curve)")
    add("--trust", choices=["Data", "Native"], default="Data", help="what the model may do while it is proven")
