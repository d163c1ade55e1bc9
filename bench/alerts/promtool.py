"""Asks promtool what Prometheus makes of rules and a history: it tells the values that a test did not expect.

`promtool test rules` runs Prometheus' own engine over given series and evaluates the rules step by step, which is as
near to a Prometheus as one gets without waiting for days to pass.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster import binaries, debian
from cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Group = dict[str, Any]
Labels = dict[str, str]

_SAMPLE = re.compile(r"\{([^{}]*)\} (\S+?)(?:, (?=\{)|$)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def newest() -> Path:
    """Return promtool 3.x."""
    return binaries.path("promtool")


@cache
def of_debian() -> Path | None:
    """Return the promtool that Debian has, in its release 12 that is 2.42; None: this machine cannot fetch it."""
    try:
        return debian.unpacked(("prometheus",)) / "usr/bin/promtool"
    except ClusterError:
        return None


def version_of(program: Path) -> str:
    """Return the version that a promtool says it has."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"version (\d+\.\d+\.\d+)", told.stdout + told.stderr)
    assert version, told
    return version[1]


def check(program: Path, groups: list[Group]) -> None:
    """Have the rules checked and linted; what is found is an error."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(json.dumps({"groups": groups}))
        command = [program, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class History:
    """What Prometheus has scraped, and how often it looks."""

    series: Mapping[str, str]
    """Values in promtool's notation."""
    seconds: int
    step: int = 15
    """Seconds from one scrape to the next."""
    evaluation: int = 15
    """Seconds from one evaluation of the rules to the next; promtool has one for all groups."""


def ask(
    program: Path, groups: list[Group], history: History, queries: Sequence[tuple[str, int]]
) -> list[list[tuple[Labels, float]]]:
    """Return what each query gives so many seconds after the beginning of a history, under the rules."""
    never = [{"labels": "never", "value": 0}]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{history.evaluation}s",
        "tests": [
            {
                "interval": f"{history.step}s",
                "input_series": [{"series": name, "values": values} for name, values in history.series.items()],
                "promql_expr_test": [
                    {"expr": query, "eval_time": f"{seconds}s", "exp_samples": never} for query, seconds in queries
                ],
            }
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(json.dumps({"groups": groups}))
        (Path(folder) / "test.yaml").write_text(json.dumps(test))
        command = [program, "test", "rules", "test.yaml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    answers = re.findall(r"^ +got: ?(.*?) *$", told, re.MULTILINE)
    assert len(answers) == len(queries), told
    return [_samples(answer) for answer in answers]


def _samples(answer: str) -> list[tuple[Labels, float]]:
    if answer == "nil":
        return []
    found = [(dict(_LABEL.findall(labels)), float(value)) for labels, value in _SAMPLE.findall(answer)]
    assert found, answer
    return found
