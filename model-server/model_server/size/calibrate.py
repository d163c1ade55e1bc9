"""Measure this machine: one thread of it, as a process of the server has."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from model_server.architectures import Built
from model_server.architectures.mlp import MLP, MlpParameters, mlp_card
from model_server.artefact.card import specs
from model_server.model import forward_of
from model_server.precision import processor_has_bfloat16
from model_server.protocol.datatypes import Signature
from model_server.size.hardware import CONVOLUTIONS, POOLING, PRODUCTS, Hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from model_server.size.hardware import Curve

    Timed = tuple[float, float, Callable[[], object]]
    """What the rate depends on, how much is done, and what does it."""

_SIDE, _ROWS = 1024, (1, 4, 16, 64, 256)
_CHANNELS = (3, 8, 32, 128)
_PICTURE = 16
_TENSOR_BYTES = (2**14, 2**18, 2**21, 2**24, 2**27)
_MEASURED_SECONDS = 0.02
_TRIES = 5
_RUNTIME_BYTES = 300 * 10**6  # of a server's process with torch


def calibrate() -> Hardware:
    """Return the profile of one thread."""
    torch.set_num_threads(1)
    types = {"Float32": torch.float32} | ({"BFloat16": torch.bfloat16} if processor_has_bfloat16() else {})
    with torch.inference_mode():
        step = _step_seconds()
        return Hardware(
            name="this-cpu",
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            runtime_bytes=_RUNTIME_BYTES,
            operations_per_second={
                kind: {name: _curve(timed(dtype), step) for name, dtype in types.items()}
                for kind, timed in ((PRODUCTS, _products), (CONVOLUTIONS, _convolutions), (POOLING, _pooling))
            },
            bytes_per_second=_curve(_sums(), step),
            step_seconds=step,
            pass_seconds=max(_pass_seconds() - step, 0.0),
        )


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor's time for a piece of work, the best of a few tries."""
    work()
    started, times = time.thread_time(), 0
    while time.thread_time() - started < _MEASURED_SECONDS:
        work()
        times += 1
    best = (time.thread_time() - started) / times
    for _ in range(_TRIES - 1):
        started = time.thread_time()
        for _ in range(times):
            work()
        best = min(best, (time.thread_time() - started) / times)
    return best


def _step_seconds() -> float:
    small, layer = torch.rand(1, 16), nn.Linear(16, 16)
    return seconds_of(lambda: torch.relu(layer(small))) / 2


def _pass_seconds() -> float:
    """Time the smallest model as the server runs it."""
    parameters = MlpParameters((1, 1))
    card = mlp_card(parameters)
    signature = Signature(specs(card.inputs), specs(card.outputs))
    forward = forward_of(Built(MLP.build(parameters), keeps_datatypes=False), signature)
    return seconds_of(lambda: forward((np.ones((1, 1), np.float32),)))


def _curve(timed: Iterable[Timed], step_seconds: float) -> Curve:
    """Return what is done in a second; what beginning costs is counted by itself."""
    measured = [(amount, done, seconds_of(work)) for amount, done, work in timed]
    return tuple((amount, done / max(took - step_seconds, took / 10)) for amount, done, took in measured)


def _products(dtype: torch.dtype) -> Iterator[Timed]:
    weight = torch.rand(_SIDE, _SIDE).to(dtype)
    for rows in _ROWS:
        matrix = torch.rand(rows, _SIDE).to(dtype)
        operations, values = 2.0 * rows * _SIDE**2, 2.0 * rows * _SIDE + _SIDE**2
        yield operations / values, operations, partial(nn.functional.linear, matrix, weight)


def _convolutions(dtype: torch.dtype) -> Iterator[Timed]:
    for channels in _CHANNELS:
        layer = nn.Conv2d(channels, 32, 3, padding=1).to(dtype)
        pictures = torch.rand(4, channels, _PICTURE, _PICTURE).to(dtype)
        operations, values = 2.0 * 9 * channels * 32, channels + 32.0  # for each point
        yield operations / values, operations * 4 * _PICTURE**2, partial(layer, pictures)


def _pooling(dtype: torch.dtype) -> Iterator[Timed]:
    values = torch.rand(4, 32, _PICTURE, _PICTURE).to(dtype)
    for side in (2, 4):
        yield side**2 / (side**2 + 1.0), float(values.numel()), partial(nn.functional.max_pool2d, values, side)


def _sums() -> Iterator[Timed]:
    for size_bytes in _TENSOR_BYTES:
        tensor = torch.rand(size_bytes // 4)
        yield 2.0 * size_bytes, 2.0 * size_bytes, partial(torch.add, tensor, 1.0, out=torch.empty_like(tensor))
