"""`make bench-scaling`: what autoscalers cost that serve 95% of the requests within their objective.

    python bench/scaling [--traces FOLDER] [--objective 1.5] [--picture docs/autoscaling.svg]

Each trace is replayed (modelservice_operator/scaling/simulator) under Builtin as it is shipped; under HPA on in-flight
requests, HPA on CPU, KEDA and KPA with their documented defaults, and with the best setting of a grid, one for all
traces; under the fewest fixed replicas; and under an oracle. The folder has public traces in CSV files (default:
MODELSERVICE_TRACES); without one only generated traces are replayed, and one more of them. All numbers are
means over three replays, whose chances are the same for all; none depends on the machine.

Progress goes to stderr. On stdout there is a row for each trace, and in the last line one JSON object:
`replica_hours_vs_default_peers` is Builtin's replica-hours beside the cheapest peer at its defaults that attains the
objective, the mean over the traces; `replica_hours_vs_tuned_peers` the same beside tuned peers, on the worst trace;
`vs_oracle` the mean over the traces.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from multiprocessing import Pool
from pathlib import Path
from statistics import fmean
from typing import Any

import cases as all_cases
import contest
from contest import BUILTIN, Outcome, Setting
from frontier import frontier

CASES: list[all_cases.Case] = []
JOBS = [BUILTIN, *contest.settings(), "oracle", "fixed"]


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Replay everything and return the numbers."""
    CASES.extend(all_cases.cases(options.traces, options.objective))
    _say(f"traces: {', '.join(each.trace.name for each in CASES)}")
    jobs = [(job, case) for case in range(len(CASES)) for job in range(len(JOBS))]
    with Pool() as pool:
        found = dict(zip(jobs, _told(pool.imap(_played, jobs), len(jobs)), strict=True))
    of = {job: [found[number, case] for case in range(len(CASES))] for number, job in enumerate(JOBS)}
    oracles, fixed, builtin = of.pop("oracle"), of.pop("fixed"), of.pop(BUILTIN)
    peers: dict[Setting, list[Outcome]] = {each: found for each, found in of.items() if isinstance(each, Setting)}
    defaults = [each for each in peers if each.is_default]
    tuned = contest.tuned(peers, oracles)
    for each in tuned:
        _say(f"tuned: {each.policy}: {each.words}")
    rows = []
    for at, case in enumerate(CASES):
        beside = {
            kind: contest.cheapest({each: peers[each][at] for each in some})
            for kind, some in (("default", defaults), ("tuned", tuned))
        }
        rows.append({kind: builtin[at].replica_hours / best[1].replica_hours for kind, best in beside.items() if best})
        print(_row(case, builtin[at], beside, oracles[at], fixed[at]), flush=True)
    if options.picture:
        names = [each.trace.name for each in CASES]
        options.picture.write_text(frontier(names, peers, builtin, oracles))
    return {
        "traces": len(CASES),
        "attained": sum(each.attains for each in builtin),
        "replica_hours_vs_default_peers": round(fmean(row["default"] for row in rows if "default" in row), 3),
        "replica_hours_vs_tuned_peers": round(max(row["tuned"] for row in rows if "tuned" in row), 3),
        "vs_oracle": round(fmean(a.replica_hours / b.replica_hours for a, b in zip(builtin, oracles, strict=True)), 3),
    }


def _played(job: tuple[int, int]) -> Outcome:
    """Run in a process that has the cases from its parent."""
    what, case = JOBS[job[0]], CASES[job[1]]
    if isinstance(what, Setting):
        return contest.outcome(case, what.make)
    return contest.of_oracle(case) if what == "oracle" else contest.of_fixed(case)


def _told(outcomes: Any, number: int) -> Any:  # noqa: ANN401 - an iterator as it comes
    for done, each in enumerate(outcomes, 1):
        if done % len(JOBS) == 0:
            _say(f"{done} of {number} replays")
        yield each


def _row(
    case: all_cases.Case,
    builtin: Outcome,
    beside: dict[str, tuple[Setting, Outcome] | None],
    oracle: Outcome,
    fixed: Outcome,
) -> str:
    told = [f"{case.trace.name:28}", _outcome("Builtin", builtin)]
    for kind, best in beside.items():
        name = f"{kind} {best[0].policy} ({best[0].words})" if best else ""
        told.append(_outcome(name, best[1]) if best else f"no {kind} peer attains it")
    return " | ".join([*told, _outcome("oracle", oracle), _outcome("fixed", fixed)])


def _outcome(name: str, found: Outcome) -> str:
    mark = "" if found.attains else ", MISSED"
    return f"{name}: {found.replica_hours:.1f} h at {found.attainment:.2%}{mark}, {found.started:.0f} started"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench/scaling", description=__doc__)
    folder = os.environ.get("MODELSERVICE_TRACES")
    parser.add_argument(
        "--traces", type=Path, default=Path(folder) if folder else None, help="a folder of public traces"
    )
    parser.add_argument("--objective", type=float, default=all_cases.OBJECTIVE_FACTOR, help="times the 95th percentile")
    parser.add_argument("--picture", type=Path, help="draw attainment against replica-hours into this file")
    print(json.dumps(main(parser.parse_args())))
