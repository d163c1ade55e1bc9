"""Parts of a data set that are judged by themselves: rows of one kind, where a good mean may hide a bad model."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model_server.protocol.datatypes import Array

MOST_SLICES = 50
_QUARTERS = (0.25, 0.5, 0.75)


def slices_of(names: Sequence[str], arrays: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Return the rows of each slice; a name is that of an array, or ARRAY:COLUMN."""
    found: dict[str, Array] = {}
    for name in names:
        values = _column(name, arrays, rows)
        numbered = values.dtype.kind == "f" and bool(np.any(values % 1))
        found |= _quarters(name, values) if numbered else _kinds(name, values)
    return found


def array_of(name: str) -> str:
    """Return the array that a slice is told by."""
    return name.partition(":")[0]


def _column(name: str, arrays: Mapping[str, Array], rows: int) -> Array:
    array, _, column = name.partition(":")
    values = arrays[array].reshape(rows, -1)
    number = int(column) if column.isdecimal() else 0
    if (values.shape[1] > 1 and not column.isdecimal()) or number >= values.shape[1]:
        raise _bad(
            f"--slice {name}: {array!r} has {values.shape[1]} values in a row; name one, counted from 0: {array}:0"
        )
    chosen: Array = values[:, number]
    if not np.isfinite(chosen).all():
        raise _bad(f"--slice {name}: there are values that are no numbers (NaN or infinite)")
    return chosen


def _kinds(name: str, values: Array) -> dict[str, Array]:
    kinds = np.unique(values)
    if len(kinds) > MOST_SLICES:
        raise _bad(f"--slice {name}: {len(kinds)} different values; there may be {MOST_SLICES}")
    return {f"{name} = {kind.item()}": np.flatnonzero(values == kind) for kind in kinds}


def _quarters(name: str, values: Array) -> dict[str, Array]:
    """Divide fractions into four parts of about as many rows."""
    ends = np.unique(np.quantile(values, _QUARTERS))
    parts = np.searchsorted(ends, values, side="left")
    said = [f"{name} <= {ends[0]:.4g}"]
    said += [f"{low:.4g} < {name} <= {high:.4g}" for low, high in pairwise(ends)]
    said += [f"{name} > {ends[-1]:.4g}"]
    found = {text: np.flatnonzero(parts == number) for number, text in enumerate(said)}
    return {text: rows for text, rows in found.items() if len(rows)}


def _bad(what: str) -> ModelError:
    return ModelError(Reason.INVALID, f"{what}.")
