"""Which rows are learned and which judge: scikit-learn's splits."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.errors import ModelError, Reason
from model_server.extras import need

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model_server.train.options import Options
    from model_server.train.table import Table


def folds_of(table: Table, options: Options) -> Iterator[tuple[Table, Table]]:
    """Yield what is learned and what judges it, once for each fold; classes keep their shares."""
    splits = _splits("Cross-validation (--folds)")
    if options.folds > len(table):
        raise ModelError(Reason.INVALID, f"--folds {options.folds} is more than the {len(table)} rows that there are.")
    kind = splits.StratifiedKFold if options.is_classification else splits.KFold
    split = kind(options.folds, shuffle=True, random_state=options.seed).split(table.x, table.y)
    try:
        for learned, judged in split:
            yield table.rows(learned), table.rows(judged)
    except ValueError as error:
        raise ModelError(Reason.INVALID, f"The rows cannot be divided into {options.folds} folds: {error}.") from error


def held_back(table: Table, options: Options) -> tuple[Table, Table | None]:
    """Divide the table into what is learned and what validates it."""
    if not options.validation:
        return table, None
    divide = _splits("A validation (--validation)").train_test_split
    classes = table.y if options.is_classification else None
    try:
        learned, validation = divide(
            np.arange(len(table)), test_size=options.validation, random_state=options.seed, stratify=classes
        )
    except ValueError as error:
        message = f"--validation {options.validation:g} of {len(table)} rows cannot be held back: {error}."
        raise ModelError(Reason.INVALID, message) from error
    return table.rows(learned), table.rows(validation)


def summary(folds: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of each figure over the folds."""
    figures = {name: [fold[name] for fold in folds] for name in folds[0]}
    return {name: {"mean": fmean(values), "deviation": stdev(values)} for name, values in figures.items()}


def _splits(what: str) -> Any:  # noqa: ANN401  # a module
    return need("sklearn.model_selection", extra="train", what=what)
