"""Trainings as processes: one that is killed goes on, and several are one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file

from model_server import cli

if TYPE_CHECKING:
    from pathlib import Path

TASK = ["--synthetic=6,3,101", "--loss=MeanSquaredError", "--hidden=16", "--epochs=8", "--batch-size=10", "--l1=1e-4"]
DIES = """
import os, signal, sys
from model_server import cli
from model_server.train.checkpoint import Checkpoint

write = Checkpoint.write

def write_and_die(self, state):
    write(self, state)
    if len(state["fit"]["history"]) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.write = write_and_die
cli.main(sys.argv[1:])
"""


def test_a_killed_training_ends_with_the_weights_that_it_would_have_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", *TASK, "--dropout=0.1"]
    assert cli.main([*command, f"--out={tmp_path}/whole"]) == 0
    killed = [*command, f"--out={tmp_path}/killed", "--checkpoint-every=0s"]
    done = subprocess.run([sys.executable, "-c", DIES, *killed], env=_environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    assert cli.main(killed) == 0
    digests = [json.loads(line)["digest"] for line in capsys.readouterr().out.splitlines()]
    assert digests[0] == digests[1]


def test_two_processes_learn_what_one_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", *TASK, f"--out={tmp_path}/one"]) == 0
    one = json.loads(capsys.readouterr().out)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "model_server", "train", *TASK, f"--out={tmp_path}/two"],
        env=_environment(GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1"),
        check=True,
        capture_output=True,
        text=True,
    )
    two = json.loads(done.stdout)  # one of them speaks
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two")]
    for name, weight in weights[0].items():
        np.testing.assert_allclose(weights[1][name], weight, rtol=1e-3, atol=1e-5)


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}
