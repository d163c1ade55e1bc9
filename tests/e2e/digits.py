"""Models that tell eight digits apart, made in the client's pod: good ones, and ones that are wrong, slow or broken.

The digits are made, not downloaded: each a pattern of sixteen pixels, with noise.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from e2e import client as clients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.client import Client
    from e2e.kubectl import Object

FOLDER = f"{clients.MODELS}/rollouts"
EVALUATION = {
    "dataset": {"uri": "pvc://models/rollouts/held-out.npz"},
    "metrics": [{"name": "accuracy", "min": "0.6", "maxRegression": "0.02"}],
}

# Runs in the client's pod. Its first argument tells how each model is trained, the second what code others run.
_MAKE = f"""
import contextlib, json, os, pathlib, sys
import numpy as np
from model_server import cli
folder = pathlib.Path("{FOLDER}")
folder.mkdir(exist_ok=True)
random = np.random.default_rng(0)
patterns = random.normal(size=(8, 16))
def rows(count):
    y = random.integers(0, 8, count)
    return (patterns[y] + random.normal(scale=0.9, size=(count, 16))).astype(np.float32), y
train, held_out = rows(2000), rows(400)
np.savez(folder / "held-out.npz", x=held_out[0], y=held_out[1])
np.savez(folder / "train.npz", x=train[0], y=train[1])
np.savez(folder / "shuffled.npz", x=train[0], y=random.permutation(train[1]))
for name, (epochs, seed, data) in json.loads(sys.argv[1]).items():
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        ended = cli.main(["train", f"--data={{folder}}/{{data}}.npz", "--architecture=mlp", "--hidden=32",
                          "--loss=CrossEntropy", "--optimizer=Adam", "--learning-rate=3e-3", "--batch-size=64",
                          f"--epochs={{epochs}}", f"--seed={{seed}}", f"--out={{folder}}/{{name}}"])
    assert ended == 0, name
for name, (origin, code) in json.loads(sys.argv[2]).items():
    (folder / name).mkdir(exist_ok=True)
    card = json.loads((folder / origin / "model.json").read_text())
    for field in ("architecture", "parameters", "golden"):
        card.pop(field, None)
    (folder / name / "model.json").write_text(json.dumps({{**card, "format": "python"}}))
    (folder / name / "numbers").write_bytes((folder / origin / "weights.safetensors").read_bytes())
    (folder / name / "handler.py").write_text(code)
print(json.dumps(held_out[0][:4].tolist()))
"""


class Trained(NamedTuple):
    """A model of numbers, and for how long it learned from which data."""

    epochs: int
    seed: int = 0
    data: str = "train"


class Coded(NamedTuple):
    """A model with code of its own, and the model whose numbers it has."""

    origin: str
    code: str


BROKEN = "def load(directory):\n    raise RuntimeError('no weights')\n"
NOT_A_NUMBER = "import torch\ndef load(directory):\n    return lambda x: torch.full((len(x), 8), torch.nan)\n"


def slow(seconds: float) -> str:
    """Return code that is right, with an added sleep."""
    return f"""
import time
from safetensors.torch import load_file
def load(directory):
    numbers = load_file(directory / "numbers")
    def answer(x):
        time.sleep({seconds})
        hidden = (x @ numbers["0.weight"].T + numbers["0.bias"]).relu()
        return hidden @ numbers["2.weight"].T + numbers["2.bias"]
    return answer
"""


def make(client: Client, trained: Mapping[str, Trained], coded: Mapping[str, Coded]) -> list[list[float]]:
    """Make them all; return rows to ask about."""
    rows: list[list[float]] = json.loads(client.run("python3", "-c", _MAKE, json.dumps(trained), json.dumps(coded)))
    return rows


def model(name: str, *, trust: str = "Data", **more: str) -> Object:
    """Return `spec.model` of one of them."""
    return {"uri": f"pvc://models/rollouts/{name}", **({} if trust == "Data" else {"trust": trust}), **more}
