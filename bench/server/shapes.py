"""What the models take and give; free of torch, so that whoever only talks to servers need not load it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One model, from outside."""

    row: tuple[int, ...]
    answer: int
    max_batch: int  # rows that a server may compute at once


MODELS = {
    "tiny": Shape((10,), 10, 64),  # a perceptron: some microseconds, so all is overhead
    "medium": Shape((64, 256), 256, 16),  # an encoder: some milliseconds
    "image": Shape((3, 224, 224), 3, 8),  # a picture to read, and next to nothing to compute
}
