"""What every adapter is given: a port, a number of processes, and the model as a function from rows to rows."""

from __future__ import annotations

import os

import numpy as np
import torch

from models import build
from shapes import MODELS

NAME = os.environ["BENCH_MODEL"]
PORT = int(os.environ["BENCH_PORT"])
PROCESSES = int(os.environ["BENCH_PROCESSES"])
SPARE_PORTS = [int(port) for port in os.environ["BENCH_SPARE_PORTS"].split(",")]  # for what cannot be switched off
MODEL = MODELS[NAME]


class Plain:
    """The model as it is fastest in plain torch: one thread, no gradients."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._module = build(NAME)

    @torch.inference_mode()
    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Answer some rows."""
        answer: np.ndarray = self._module(torch.from_numpy(rows)).numpy()
        return answer


def rows_of(request: dict) -> np.ndarray:
    """Read a V2 request that is already parsed."""
    tensor = request["inputs"][0]
    return np.asarray(tensor["data"], dtype=np.float32).reshape(tensor["shape"])


def answer_of(rows: np.ndarray) -> dict:
    """Write a V2 answer; `data` stays an array, for orjson."""
    tensor = {"name": "y", "datatype": "FP32", "shape": rows.shape, "data": rows.reshape(-1)}
    return {"model_name": NAME, "outputs": [tensor]}
