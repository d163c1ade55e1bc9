"""`model-server size`: its flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.commands.arguments import positive

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Print what the model needs."""
    from model_server.artefact.card import Trust  # noqa: PLC0415
    from model_server.size import Options, as_text, size  # noqa: PLC0415  # torch
    from model_server.size.hardware import ACCELERATORS, read_hardware, write_hardware  # noqa: PLC0415

    asked = [read_hardware(path) for path in options.hardware]
    if options.calibrate:
        from model_server.size.calibrate import calibrate  # noqa: PLC0415

        asked.insert(0, calibrate())
        write_hardware(options.calibrate, asked[0])
    told = size(
        options.directory,
        Options(batch=options.batch, trust=Trust(options.trust), hardware=(*asked, *ACCELERATORS)),
    )
    print(json.dumps(told) if options.json else as_text(told))
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be asked."""
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("directory", type=Path, help="the model directory")
    add("--batch", type=positive, default=1, help="rows in one pass")
    add("--hardware", type=Path, action="append", default=[], metavar="FILE", help="a machine's profile (JSON)")
    add("--calibrate", type=Path, metavar="FILE", help="measure one thread of this machine, and write its profile here")
    add("--trust", choices=["Data", "Native"], default="Data", help="what the model may do while it is run")
    add("--json", action="store_true", help="one JSON object")
