"""`make bench-alerts`: how soon the alerts of a service come and go, and how exact its error budget is.

    python bench/alerts [alerts|dashboards|all] [--histories 10] [--seconds 240] [--picture docs/dashboard.svg]

The rules that the operator makes are run by Prometheus' own engine (promtool, 3.x and Debian 12's 2.42) over histories
of a service: outages at ten targets, quiet days, all kinds of trouble, and random days with pods that restart, come and
go. No number depends on the machine.

Then models are asked for some minutes while a real Prometheus watches them (live.py), and every panel of the chart's
dashboards is asked for what it shows.

Progress goes to stderr; the last line of stdout is one JSON object, the worst over both versions.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import histories
import picture
import promtool
import shown
from firing import paged, told
from stories import OUTAGES, groups, loud, quiet


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for and return the numbers."""
    found: dict[str, Any] = {}
    if options.part in ("alerts", "all"):
        found |= alerts(options)
    if options.part in ("dashboards", "all"):
        found |= dashboards(options)
    return found


def dashboards(options: argparse.Namespace) -> dict[str, int]:
    """Return how many panels there are and how many show nothing, and draw the dashboard of the model."""
    counts, found = shown.measured(options.seconds)
    if options.picture:
        of_model = [each for each in found if each.panel.dashboard == "modelservice"]
        rows = [row for row in dict.fromkeys(each.panel.row for each in of_model) if row not in shown.OF_OTHERS]
        options.picture.write_text(picture.picture("ModelService / Model: ml / nlp", of_model, rows))
    return counts


def alerts(options: argparse.Namespace) -> dict[str, Any]:
    """Return what becomes of the histories."""
    programs = {promtool.version_of(each): each for each in (promtool.newest(), promtool.of_debian()) if each}
    found = [measured(version, program, options.histories) for version, program in programs.items()]
    worst = {key: max(each[key] for each in found) for key in found[0]}
    return {"promtool": [*programs], "scenarios": len(OUTAGES) + len(quiet()) + len(loud())} | worst


def measured(version: str, program: Path, number: int) -> dict[str, float]:
    """Return the numbers of one promtool."""
    late, pages, clear, false = 0.0, 0.0, 0.0, 0
    for outage in OUTAGES:
        promtool.check(program, groups(outage.spec))
        came = paged(program, outage)
        _say(
            f"{version}: outage at {outage.target} over {outage.window}: page after {came.anyhow:g} s, "
            f"{outage.tier.long} tier after {came.tier:g} (formula: {outage.tier.outage_seconds:g}), "
            f"clear after {came.cleared:g}"
        )
        late = max(late, came.tier - outage.tier.outage_seconds)
        pages, clear = max(pages, came.anyhow), max(clear, came.cleared)
        assert came.tier <= outage.latest
    for name, story in (quiet() | loud()).items():
        firing = told(program, story)
        _say(f"{version}: {name}: {', '.join(sorted(each.kind for each in firing)) or 'nothing'}")
        false += sum(each.pages and each.kind not in story.fires for each in firing)
        assert {each.kind for each in firing} == story.fires
    errors = [budget_errors(program, version, seed) for seed in range(number)]
    return {
        "page_seconds": pages,
        "late_seconds": round(late, 2),
        "clear_seconds": clear,
        "false_pages": false,
        "budget_error": max(error for error, _ in errors),
        "budget_true_error": max(error for _, error in errors),
    }


def budget_errors(program: Path, version: str, seed: int) -> tuple[float, float]:
    """Return by what part of itself the spent budget of random days differs from the formula's, and from the truth."""
    days = histories.days(Random(seed), 3)  # noqa: S311 - no secret depends on it
    found = histories.spent_by_rules(program, days)
    formula = histories.spent_by_formula(days, modern=not version.startswith("2."))
    _say(f"{version}: random days {seed}: bad {found:.4%}, by formula {formula:.4%}, in truth {days.spent:.4%}")
    return abs(found / formula - 1), abs(found / days.spent - 1)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench/alerts", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=["alerts", "dashboards", "all"], default="all", help="what to measure"
    )
    parser.add_argument("--seconds", type=int, default=240, help="for how long models are asked, at least")
    parser.add_argument("--picture", type=Path, help="draw the dashboard of a model into this file")
    parser.add_argument("--histories", type=int, default=10, help="how many random histories of three days")
    print(json.dumps(main(parser.parse_args())))
