"""How far what comes in has moved from what the model learned: PSI and outliers of a sample, over the last hour.

The population stability index compares the shares of two histograms, p where the model learned and q now:

    PSI = Σ (q - p) · ln(q / p)          over ten bins, each with a tenth of the reference; a share is at least 0.0001

(the symmetric Kullback-Leibler divergence of two histograms; Siddiqi, Credit Risk Scorecards, 2006, who calls below 0.1
little changed and from 0.25 on much). Tools that watch models (Evidently, NannyML) judge each column by itself, and so
is an input here: it has drifted as far as the one of its features that has drifted most.

A process counts rows of one request in a tenth of a second, at most, in slices of ten minutes: shared memory, at the
same places for each process, as with the metrics. A slice is emptied when its turn comes again.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_server.reference import CELLS, MAX_FEATURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from model_server.protocol.datatypes import Array, Arrays
    from model_server.reference import InputReference

SLICES, SLICE_SECONDS = 6, 600.0
PERIOD_SECONDS = 0.1
SAMPLE_ROWS = 8
LEAST_VALUES = 200  # with fewer a PSI is noise: about 9 / LEAST_VALUES where nothing has changed
LEAST_SHARE = 1e-4
_WORDS = 1 + MAX_FEATURES * CELLS  # of a slice: which one it is, and the counts


def shared_tallies(count: int) -> list[Array]:
    """Return the slices of so many processes, which those forked from this one share; unused pages cost nothing."""
    memory = np.frombuffer(mmap.mmap(-1, count * SLICES * _WORDS * 4), np.uint32)
    return list(memory.reshape(count, SLICES, _WORDS))


class Sampler:
    """Counts some of what one process is asked."""

    def __init__(self, reference: Sequence[InputReference], tally: Array, clock: Callable[[], float]) -> None:
        self._reference = reference
        self._tally = tally
        self._clock = clock
        self._next = 0.0

    def look(self, inputs: Arrays) -> None:
        """Take rows of one request, unless others were taken a moment ago."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + PERIOD_SECONDS
        current = _slice_at(now)
        part = self._tally[current % SLICES]
        if part[0] != current:
            part[1:] = 0
            part[0] = current
        start = 1
        for reference, rows in zip(self._reference, inputs, strict=True):
            counts = reference.counts(rows[:SAMPLE_ROWS]).ravel()
            part[start : start + len(counts)] += counts.astype(np.uint32)
            start += len(counts)


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one input has moved."""

    name: str
    values: int
    """Of each feature, in the sample."""
    psi: Mapping[str, float]
    """By column where those have names, else under the empty name that of the worst; empty: too few values."""
    outlier_ratio: float | None
    """Share of values outside what the model learned from."""


def drifts(
    reference: Sequence[InputReference], columns: Sequence[Sequence[str]], tallies: Sequence[Array], now: float
) -> Iterator[Drift]:
    """Compare what all processes have counted in the last hour; `columns`: names of those to be told one by one."""
    counts = _recent(tallies, now)
    start = 0
    for each, names in zip(reference, columns, strict=True):
        size = len(each.edges) * CELLS
        yield _drift(each, names, counts[start : start + size].reshape(-1, CELLS))
        start += size


def psi(shares: Array, counts: Array) -> Array:
    """Return the index of each feature; what lies outside counts to the bins at the ends."""
    inside = counts[:, 1:-1].copy()
    inside[:, 0] += counts[:, 0]
    inside[:, -1] += counts[:, -1]
    before, after = (np.maximum(each, LEAST_SHARE) for each in (shares, inside / counts.sum(axis=1, keepdims=True)))
    indices: Array = ((after - before) * np.log(after / before)).sum(axis=1)
    return indices


def _drift(reference: InputReference, names: Sequence[str], counts: Array) -> Drift:
    values = int(counts[0].sum())
    if values < LEAST_VALUES:
        return Drift(reference.name, values, {}, None)
    indices = psi(reference.shares, counts)
    told = dict(zip(names, indices.tolist(), strict=True)) if names else {"": float(indices.max())}
    outside = counts[:, 0].sum() + counts[:, -1].sum()
    return Drift(reference.name, values, told, float(outside / counts.sum()))


def _recent(tallies: Sequence[Array], now: float) -> Array:
    """Add up the slices that are not older than the window; one that nobody wrote to for long is left out."""
    oldest = _slice_at(now) - SLICES
    parts = [part[1:] for tally in tallies for part in tally if part[0] > oldest]
    total: Array = np.stack([np.zeros(_WORDS - 1, np.uint32), *parts]).sum(axis=0, dtype=np.int64)
    return total


def _slice_at(now: float) -> int:
    """Number the slices from 1 on: 0 is one that was never used."""
    return 1 + int(now // SLICE_SECONDS)
