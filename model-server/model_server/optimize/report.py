"""The report on an optimisation: every candidate, and two pictures of what accuracy costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_server.charts import points, require_charts
from model_server.optimize.choose import front
from model_server.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from model_server.optimize.choose import Measured
    from model_server.train.options import Loss

__all__ = ["require_charts", "write_report"]


def write_report(directory: Path, source: str, found: Sequence[Measured], chosen: Measured | None, loss: Loss) -> None:
    """Write the page and its pictures."""
    figure = "accuracy" if loss == "CrossEntropy" else "root of the mean squared error"
    best = front(found)
    page = Page("What could be served instead")
    page.text(f"Made from `{source}`. " + (f"Chosen: {chosen.name}." if chosen else "None keeps the bounds."))
    page.table(
        ("candidate", figure, "lost", "time", "size", "beaten by no other"),
        [
            (one.name, one.figure, one.lost, f"{one.latency:.0%}", f"{one.size:.0%}", "yes" if one in best else "")
            for one in found
        ],
    )
    for name, x, of in (
        ("size", "size of the weights, as a share of what it was", lambda one: one.size),
        ("latency", "time of a pass, as a share of what it was", lambda one: one.latency),
    ):
        page.heading(f"{figure.capitalize()} against {name}")
        groups = {
            "others": _at([one for one in found if one not in best], of),
            "beaten by no other": _at(best, of),
            "chosen": _at([chosen] if chosen else [], of),
        }
        page.picture(name, points(groups, x=x, y=figure), f"{figure} against {name}")
    page.write(directory)


def _at(found: Sequence[Measured], of: Callable[[Measured], float]) -> list[tuple[float, float]]:
    return [(of(one), one.figure) for one in found]
