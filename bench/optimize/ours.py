"""A model directory of texts in process, one JSON line in, one out."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from model_server.model import load
from model_server.precision import Precision

_SPECIAL = 2  # tokens before and behind a text
model = load(Path(sys.argv[1]), precision=Precision(sys.argv[2]))


def arrays(texts: list[str]) -> tuple[np.ndarray]:
    """Write texts as requests bring them."""
    return (np.array(texts, dtype=object),)


def forward(rows: int, tokens: int) -> float:
    """Return the shortest time of a few passes, from texts to vectors; every word is one token."""
    given = arrays([" ".join(["copper"] * (tokens - _SPECIAL))] * rows)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        model.forward(given)
        best = min(best, time.perf_counter() - start)
    return best


for line in sys.stdin:
    asked = json.loads(line)
    match asked.pop("what"):
        case "forward":
            answer: object = forward(**asked)
        case "encode":
            answer = model.forward(arrays(asked["texts"]))[0].tolist()
        case "precision":
            answer = model.choice.parameters()
    print(json.dumps(answer), flush=True)
