"""`reference.npz`: how the values of each input were spread where the model learned; drift is measured against it.

For each feature of an input it holds eleven edges, the smallest value, the nine deciles and the largest, and the shares
of the rows between them. Of an input with many features so many are looked at, evenly spread over it; the values of
one whose sizes are free are taken for one feature.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.errors import ModelError, Reason
from model_server.protocol.datatypes import FREE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model_server.protocol.datatypes import Array, TensorSpec

REFERENCE = "reference.npz"
BINS = 10
CELLS = BINS + 2  # what lies outside has cells of its own
MAX_FEATURES = 1024  # of all inputs together
LEAST_ROWS = 200  # shares of fewer are noise, and so would be what is measured against them
_MOST_ROWS = 50_000  # deciles of more are no better


@dataclass(frozen=True, slots=True)
class InputReference:
    """One input where the model learned."""

    name: str
    features: Array | None
    """Which values of a row are looked at; None: its sizes are free, all values are one feature's."""
    edges: Array
    shares: Array

    @classmethod
    def of(cls, spec: TensorSpec, rows: Array, most: int) -> InputReference:
        """Measure some rows."""
        rows = rows[:: -(-len(rows) // _MOST_ROWS)]
        width = _width(spec)
        features = None if width is None else np.unique(np.linspace(0, width - 1, min(width, most)).astype(np.int64))
        values = _values(rows, features)
        edges = np.quantile(values, np.linspace(0, 1, BINS + 1), axis=0).T.astype(np.float32)
        edges[:, 0] = np.nextafter(edges[:, 0], np.float32(-np.inf))  # what lies on an edge belongs to the bin below
        bare = cls(spec.name, features, edges, np.empty(0))
        return cls(spec.name, features, edges, bare.counts(rows)[:, 1:-1] / len(values))

    def counts(self, rows: Array) -> Array:
        """Return for each feature how many of its values lie below all edges, in each bin, and above."""
        values = _values(rows, self.features)
        cell = (values[:, :, None] > self.edges).sum(axis=2)  # what is no number is above no edge
        cell += np.arange(len(self.edges)) * CELLS
        return np.bincount(cell.ravel(), minlength=len(self.edges) * CELLS).reshape(-1, CELLS)


def reference_of(specs: Sequence[TensorSpec], rows: Mapping[str, Array]) -> tuple[InputReference, ...]:
    """Measure what the model learned from."""
    if (count := min(len(each) for each in rows.values())) < LEAST_ROWS:
        message = (
            f"{count} rows tell too little of what inputs are like; drift is measured against {LEAST_ROWS} or more."
        )
        raise ModelError(Reason.INVALID, message)
    if texts := [spec.name for spec in specs if spec.datatype.dtype.kind not in "biuf"]:
        raise ModelError(Reason.INVALID, f"The input {texts[0]!r} has no numbers, of which alone drift is measured.")
    return tuple(InputReference.of(spec, rows[spec.name], MAX_FEATURES // len(specs)) for spec in specs)


def write_reference(directory: Path, reference: Sequence[InputReference]) -> None:
    """Write the file."""
    arrays: dict[str, Any] = {}
    for each in reference:
        if each.features is not None:
            arrays[f"features.{each.name}"] = each.features
        arrays |= {f"edges.{each.name}": each.edges, f"shares.{each.name}": each.shares.astype(np.float32)}
    np.savez_compressed(directory / REFERENCE, **arrays)


def read_reference(directory: Path, specs: Sequence[TensorSpec]) -> tuple[InputReference, ...]:
    """Read the file, empty where there is none, and hold it against the model's inputs."""
    path = directory / REFERENCE
    if not path.exists():
        return ()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = tuple(
                InputReference(
                    spec.name,
                    None if _width(spec) is None else arrays[f"features.{spec.name}"],
                    arrays[f"edges.{spec.name}"],
                    arrays[f"shares.{spec.name}"],
                )
                for spec in specs
            )
    except KeyError as error:
        raise ModelError(Reason.INVALID, f"{path} lacks the array {error.args[0]}.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(Reason.INVALID, f"{path} cannot be read: {error}.") from error
    fits = all(map(_fits, specs, found)) and sum(len(each.edges) for each in found) <= MAX_FEATURES
    if not fits:
        message = f"{path} does not fit the inputs of model.json; model-server package --reference ROWS writes it anew."
        raise ModelError(Reason.INVALID, message)
    return found


def _fits(spec: TensorSpec, found: InputReference) -> bool:
    count = 1 if found.features is None else len(found.features)
    return (
        (found.edges.shape, found.shares.shape) == ((count, BINS + 1), (count, BINS))
        and all(np.issubdtype(each.dtype, np.floating) for each in (found.edges, found.shares))
        and bool(np.isfinite(found.shares).all())
        and (found.features is None or _are_places(found.features, _width(spec) or 0))
    )


def _are_places(features: Array, width: int) -> bool:
    return np.issubdtype(features.dtype, np.integer) and bool(((features >= 0) & (features < width)).all())


def _width(spec: TensorSpec) -> int | None:
    """Return how many values a row has; None: that is free."""
    sizes = spec.shape[1:]
    return None if FREE in sizes else int(np.prod(sizes, dtype=np.int64))


def _values(rows: Array, features: Array | None) -> Array:
    """Return them as columns of FP32."""
    flat = rows.reshape(-1, 1) if features is None else rows.reshape(len(rows), -1)[:, features]
    return flat.astype(np.float32, copy=False)
