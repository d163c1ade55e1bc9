"""`make bench-rollout`: whether new models earn their traffic, and nobody notices.

    python bench/rollout [rollouts|histories|all] [--histories 10200] [--seed 0] [--only TITLE,...]

Two services on a real node of our own, with real models, are changed again and again (changes.py) while clients ask
them all the time, over fresh and over kept connections, and repeat nothing. Which revision has answered is told by the
server: `x-served-by` is the name of its pod, which begins with that of the revision. `rollback_seconds` is from the
time of the decision in the ledger, cut to whole seconds, to the last answer of the revision that was given up. Then the
generated histories of the plan run (tests/unit).

The last line of stdout is one JSON object; before it stands a row for each rollout. The exit code is 1 where one of
them did not end as meant.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import generated
import lanes
from changes import CHANGES, CODED, SPOILT, TRAINED
from cluster.home import Home
from controlplane.shell import Shell, install
from e2e import digits, installed
from outcomes import figures

HOME = Home("bench-rollout")


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for, and return the figures."""
    found: dict[str, Any] = {}
    if options.part in {"rollouts", "all"}:
        found |= rollouts(options.only)
    if options.part in {"histories", "all"}:
        found |= generated.histories(options.histories, options.seed)
    return found


def rollouts(only: list[str]) -> dict[str, Any]:
    """Play the changes whose titles have one of these words; none: all of them."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as place,
        installed.cluster(HOME) as kubeconfig,
        installed.namespace(kubeconfig) as kubectl,
        installed.operator(kubectl, kubeconfig),
    ):
        folder = Path(place)
        install(folder)
        shell = Shell(folder, kubeconfig, folder / "cache")
        client = installed.client(kubectl, installed.claim(kubectl, HOME))
        rows = digits.make(client, TRAINED, CODED)
        client.run("python3", "-c", SPOILT)
        wanted = {
            name: [each for each in changes if not only or any(word in each.title for word in only)]
            for name, changes in CHANGES.items()
        }
        began = time.monotonic()
        with ThreadPoolExecutor() as pool:
            stage = lanes.Stage(kubectl, client, shell, rows)
            parts = [pool.submit(lanes.play, *lane, stage) for lane in wanted.items() if lane[1]]
            played = [part.result() for part in parts]
        for _, load in played:
            print(*load.failures, sep="\n", file=sys.stderr, flush=True)
        return {**figures(played), "rollouts_minutes": round((time.monotonic() - began) / 60, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench/rollout", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["rollouts", "histories", "all"], default="all")
    parser.add_argument("--histories", type=int, default=10200, help="how many, of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="of the histories")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="rollouts with such titles")
    measured = main(parser.parse_args())
    print(json.dumps(measured))
    sys.exit(bool(measured.get("ended_otherwise") or measured.get("deadlocks")))
