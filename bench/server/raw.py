"""The limit for models that compute: plain torch in a loop, one thread, nothing else.

    python bench/server/raw.py MODEL float32|bfloat16 BATCH SECONDS

Prints how many rows per second it computes in batches of that size. The rows are there before, the answers are dropped.
"""

from __future__ import annotations

import sys
import time

import torch

from models import build
from shapes import MODELS


def main() -> None:
    """Measure."""
    name, precision, batch, seconds = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    torch.set_num_threads(1)
    module, rows = build(name).to(precision), torch.randn(batch, *MODELS[name].row).to(precision)
    with torch.inference_mode():
        for _ in range(3):
            module(rows)
        passes, started = 0, time.perf_counter()
        while (now := time.perf_counter()) < started + seconds:
            module(rows)
            passes += 1
    print(passes * batch / (now - started))


if __name__ == "__main__":
    main()
