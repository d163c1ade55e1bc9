"""The report on a training: what was asked for, what came of it, the curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_server.charts import curves, require_charts
from model_server.page import Page
from model_server.train.fit import best_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_server.artefact.card import Card
    from model_server.train.fit import History

__all__ = ["require_charts", "write_report"]

_FIGURES = ("validation", "cross_validation", "held_out")


def write_report(directory: Path, card: Card, digest: str, history: History, folds: Sequence[dict[str, float]]) -> None:
    """Write the page and its pictures."""
    told: dict[str, Any] = card.training
    page = Page(f"How this {card.architecture} was trained")
    page.text(f"Content `{digest}`.{' ' + card.preprocessing if card.preprocessing else ''}")
    asked = [(name, value) for name, value in told.items() if name not in _FIGURES]
    page.table(("setting", "value"), [*card.parameters.items(), *asked])
    page.heading("Loss")
    validation = [epoch["validation_loss"] for epoch in history if "validation_loss" in epoch]
    lines = {"training": [epoch["loss"] for epoch in history]} | ({"validation": validation} if validation else {})
    is_positive = all(value > 0 for values in lines.values() for value in values)
    mark = best_epoch(history) + 1 if validation else None
    page.picture("loss", curves(lines, x="epoch", y=str(told["loss"]), log=is_positive, mark=mark), "loss over epochs")
    if len({epoch["learning_rate"] for epoch in history}) > 1:
        rates = {"learning rate": [epoch["learning_rate"] for epoch in history]}
        page.picture("learning-rate", curves(rates, x="epoch", y="learning rate"), "learning rate over epochs")
    if folds:
        page.heading(f"Cross-validation in {len(folds)} folds")
        names = list(folds[0])
        spread = told["cross_validation"]
        page.table(
            ("fold", *names),
            [
                *((number, *fold.values()) for number, fold in enumerate(folds, 1)),
                ("mean", *(spread[name]["mean"] for name in names)),
                ("standard deviation", *(spread[name]["deviation"] for name in names)),
            ],
        )
    if "held_out" in told:
        page.heading("Rows that it has not seen")
        page.table(("figure", "value"), told["held_out"].items())
    page.write(directory)
