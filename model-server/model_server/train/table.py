"""The data set: npz, csv or parquet become rows of inputs, and what is right for each."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from model_server.errors import ModelError, Reason, first_line
from model_server.extras import need

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_server.protocol.datatypes import Array
    from model_server.train.options import Loss

TARGET = "y"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of inputs and what is right for them: class numbers, or rows of targets."""

    x: Array
    y: Array
    labels: tuple[str, ...] = ()
    """What the classes, or the columns of y, are called."""
    columns: tuple[str, ...] = ()
    """What the columns of x are called, where the file says so."""

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Array) -> Table:
        """Pick some."""
        return replace(self, x=self.x[index], y=self.y[index])


def read_table(
    path: Path, loss: Loss, *, target: Sequence[str] = (TARGET,), like: Table | None = None, images: bool = False
) -> Table:
    """Read a file, shaped for the loss; `like` is the table whose columns and classes it has to have."""
    has_columns = path.suffix in (".csv", ".parquet")
    table = _columns_as_table(path, target, loss, like) if has_columns else _read_npz(path)
    x, y = table.x, table.y
    if len(x) != len(y) or len(x) == 0:
        raise _bad(path, f"has {len(x)} rows of x and {len(y)} of y; both need the same, above 0")
    x = _as_images(path, x) if images else x.reshape(len(x), -1)
    table = replace(table, x=_finite(path, "x", x), y=_targets(path, y, loss))
    if like is not None and table.x.shape[1:] != like.x.shape[1:]:
        raise _bad(
            path, f"has rows of {list(table.x.shape[1:])}, unlike those that are learned: {list(like.x.shape[1:])}"
        )
    return table


def synthetic_table(size_in: int, size_out: int, rows: int, seed: int) -> Table:
    """Make up a task that can be learned: normal inputs, and targets that are a fixed random linear map of them."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, size_in)).astype(np.float32)
    true_map = random.standard_normal((size_in, size_out)).astype(np.float32) / np.sqrt(size_in, dtype=np.float32)
    return Table(x, x @ true_map)


def _read_npz(path: Path) -> Table:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Table(arrays["x"], arrays["y"])
    except KeyError as error:
        raise _bad(path, f"lacks the array {error.args[0]}; it holds x and y") from error
    except FileNotFoundError:
        raise ModelError(Reason.NOT_FOUND, f"{path} does not exist.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _bad(path, f"is not an npz file without pickles: {error}") from error


# -- tables with named columns


def _columns_as_table(path: Path, target: Sequence[str], loss: Loss, like: Table | None) -> Table:
    columns = _read_columns(path)
    if missing := [name for name in target if name not in columns]:
        raise _bad(path, f"lacks the column {missing[0]!r} (--target); it has {', '.join(columns)}")
    inputs = tuple(name for name in columns if name not in target)
    if like is not None:
        if {*inputs} != {*like.columns}:
            raise _bad(
                path, f"has the inputs {', '.join(inputs)}, unlike those that are learned: {', '.join(like.columns)}"
            )
        inputs = like.columns
    if not inputs:
        raise _bad(path, f"has the columns {', '.join(columns)} and nothing to learn them from")
    x = np.stack([_numbers(path, name, columns[name]) for name in inputs], axis=1)
    if loss != "CrossEntropy":
        y = np.stack([_numbers(path, name, columns[name]) for name in target], axis=1)
        return Table(x, y, tuple(target), inputs)
    if len(target) > 1:
        raise _bad(path, f"has one column of classes, not {len(target)} (--target)")
    return Table(x, *_classes(path, columns[target[0]], like), columns=inputs)


def _read_columns(path: Path) -> dict[str, Array]:
    kind = path.suffix[1:]
    arrow = need("pyarrow", extra="train", what=f"A {kind} file")
    try:
        if kind == "csv":
            columns = need("pyarrow.csv", extra="train", what="A csv file").read_csv(path)
        else:
            columns = need("pyarrow.parquet", extra="train", what="A parquet file").read_table(path)
    except FileNotFoundError:
        raise ModelError(Reason.NOT_FOUND, f"{path} does not exist.") from None
    except (OSError, arrow.ArrowInvalid) as error:
        raise _bad(path, f"is not a {kind} file: {first_line(error)}") from error
    for name in columns.column_names:
        if empty := columns.column(name).null_count:
            raise _bad(path, f"has {empty} empty values in the column {name!r}; fill them in, or drop the rows")
    return {name: np.asarray(columns.column(name).to_numpy()) for name in columns.column_names}


def _classes(path: Path, values: Array, like: Table | None) -> tuple[Array, tuple[str, ...]]:
    """Return class numbers; names of classes are counted in their order."""
    if values.dtype.kind in "iub":
        return values.astype(np.int64), ()
    names = np.array([*map(str, values)])
    labels = like.labels if like else tuple(np.unique(names).tolist())
    if unknown := sorted({*names.tolist()} - {*labels}):
        raise _bad(path, f"has the class {unknown[0]!r}, which is not learned; there are {', '.join(labels)}")
    return np.searchsorted(labels, names), labels


def _numbers(path: Path, name: str, values: Array) -> Array:
    if values.dtype.kind not in "iufb":
        raise _bad(path, f"has the column {name!r} of {values.dtype}, such as {values[0]!r}; inputs are numbers")
    return values


# -- shapes


def _as_images(path: Path, x: Array) -> Array:
    """Add the channel that grey pictures leave out."""
    pictures = x[:, None] if x.ndim == 3 else x  # noqa: PLR2004  # rows, height, width
    if pictures.ndim != 4:  # noqa: PLR2004  # rows, channels, height, width
        raise _bad(
            path, f"has x of the shape {list(x.shape)}; a cnn takes [rows, height, width], or channels before them"
        )
    return pictures


def _targets(path: Path, y: Array, loss: Loss) -> Array:
    if loss != "CrossEntropy":
        return _finite(path, "y", y.reshape(len(y), -1))
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0:
        raise ModelError(Reason.INVALID, f"{path}: for CrossEntropy y holds one class number, from 0, per row.")
    return y.astype(np.int64)


def _finite(path: Path, name: str, array: Array) -> Array:
    if array.dtype.kind not in "iufb":
        raise _bad(path, f"has {name} of {array.dtype}; it holds numbers")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise _bad(path, f"has values in {name} that are no numbers of 32 bits (NaN, infinite or too large)")
    return numbers


def _bad(path: Path, what: str) -> ModelError:
    return ModelError(Reason.INVALID, f"{path} {what}.")
