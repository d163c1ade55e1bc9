"""How far a figure may be from what more rows would give: the bootstrap, with percentiles.

Rows are drawn again, as many as there are and with repetition, and the figure is computed for each draw. The same data
give the same interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model_server.evaluate.pace import percentile
from model_server.evaluate.scores import CLASSIFICATION, REGRESSION, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.protocol.datatypes import Array

RESAMPLES = 1000
_SEED = 0

Interval = tuple[float, float]


def of_classes(truth: Array, said: Array, names: Sequence[str], confidence: float) -> dict[str, Interval]:
    """Draw how often each pair of a right and a given class comes up: that is drawing rows, however many there are."""
    (true, guess), counts = np.unique(np.stack((truth, said)), axis=1, return_counts=True)
    draws = _random().multinomial(len(truth), counts / len(truth), RESAMPLES)
    tallies = [Tally.of(true, guess, draw) for draw in draws]
    return {name: _ends([CLASSIFICATION[name](tally) for tally in tallies], confidence) for name in names}


def of_numbers(off: Array, names: Sequence[str], confidence: float) -> dict[str, Interval]:
    """Draw rows of differences."""
    random = _random()
    figures: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(RESAMPLES):
        drawn = off[random.integers(len(off), size=len(off))]
        for name in names:
            figures[name].append(REGRESSION[name](drawn))
    return {name: _ends(values, confidence) for name, values in figures.items()}


def of_times(seconds: Sequence[float], percents: dict[str, int], confidence: float) -> dict[str, Interval]:
    """Draw requests."""
    draws = _random().choice(np.array(seconds), (RESAMPLES, len(seconds)))
    return {
        name: _ends([percentile(draw.tolist(), percent) for draw in draws], confidence)
        for name, percent in percents.items()
    }


def _random() -> np.random.Generator:
    return np.random.default_rng(_SEED)


def _ends(values: Sequence[float], confidence: float) -> Interval:
    low, high = np.quantile(values, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
