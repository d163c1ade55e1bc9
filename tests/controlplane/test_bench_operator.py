"""The benchmark of the operator at sample size: what it counts holds on any machine, what it times is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def test_no_write_is_wasted() -> None:
    options = {"sizes": 20, "largest": 0, "repeat": 1, "connections": 8, "controllers": 0}
    done = subprocess.run(
        [sys.executable, "bench/operator", *(f"--{name}={value}" for name, value in options.items())],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(("operator", "model-server", "tools", "tests"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert numbers["children"] == 6
    assert numbers["writes_per_service"] <= numbers["children"] + 2
    assert numbers["reads_per_service"] == 0
    assert numbers["restart_writes"] == 0
    assert numbers["ratio_20"] > 0
    assert numbers["ratio_shared_20"] > 0
    assert numbers["listening_ratio_20"] > 0
