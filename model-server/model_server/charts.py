"""Pictures for reports, drawn by matplotlib as SVG: the same numbers give the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from model_server.extras import need

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model_server.protocol.datatypes import Array

_STYLE = {"svg.hashsalt": "model-server", "svg.fonttype": "none", "font.family": "sans-serif"}
_WIDE, _SQUARE = (7.0, 3.5), (5.5, 5.0)
_MOST_POINTS = 2000
_MOST_NUMBERED = 15  # classes up to which the cells of a grid hold numbers

Axes = Any  # matplotlib's


def require_charts() -> None:
    """Say at the start, not at the end, that pictures cannot be drawn."""
    need("matplotlib.figure", extra="train", what="A report with pictures")


def curves(
    lines: Mapping[str, Sequence[float]],
    *,
    x: str,
    y: str,
    at: Sequence[float] | None = None,
    log: bool = False,
    mark: int | None = None,
) -> bytes:
    """Draw figures over a count from 1, or over what is given, and mark one place."""

    def draw(axes: Axes) -> None:
        for name, values in lines.items():
            axes.plot(at or range(1, len(values) + 1), values, label=name, linewidth=1.2, marker="." if at else "")
        if mark is not None:
            axes.axvline(mark, color="grey", linestyle=":", label=f"{x} {mark}")
        axes.set(xlabel=x, ylabel=y, yscale="log" if log else "linear")
        axes.grid(visible=True, alpha=0.4)
        axes.legend()

    return _drawn(draw, _WIDE)


def points(groups: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str) -> bytes:
    """Draw what is at its place, each group in a colour."""

    def draw(axes: Axes) -> None:
        for name, places in groups.items():
            axes.scatter([at for at, _ in places], [up for _, up in places], label=name, s=24)
        axes.set(xlabel=x, ylabel=y)
        axes.grid(visible=True, alpha=0.4)
        axes.legend()

    return _drawn(draw, _WIDE)


def histogram(values: Sequence[float], *, x: str, y: str) -> bytes:
    """Draw how often what comes up."""

    def draw(axes: Axes) -> None:
        axes.hist(values, bins=40)
        axes.set(xlabel=x, ylabel=y)

    return _drawn(draw, _WIDE)


def against(across: Array, up: Array, *, x: str, y: str, joined: bool = False) -> bytes:
    """Draw what should be equal, beside the line on which it is."""
    step = 1 + len(across) // _MOST_POINTS

    def draw(axes: Axes) -> None:
        ends = [min(across.min(), up.min()), max(across.max(), up.max())]
        axes.plot(ends, ends, color="grey", linestyle=":")
        axes.plot(across[::step], up[::step], marker="o" if joined else ".", linestyle="-" if joined else "")
        axes.set(xlabel=x, ylabel=y)
        axes.grid(visible=True, alpha=0.4)

    return _drawn(draw, _SQUARE)


def grid(matrix: Array, labels: Array, *, x: str, y: str) -> bytes:
    """Draw a matrix of counts, each row as shares of its own."""
    whole = matrix.sum(axis=1, keepdims=True)
    shares = matrix / whole.clip(min=1)

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        places = range(len(labels))
        axes.set(xlabel=x, ylabel=y)
        axes.set_xticks(places, labels)
        axes.set_yticks(places, labels)
        if len(labels) <= _MOST_NUMBERED:
            for (row, column), count in _cells(matrix):
                colour = "white" if shares[row, column] > 1 / 2 else "black"
                axes.text(column, row, count, ha="center", va="center", color=colour, fontsize="small")

    return _drawn(draw, _SQUARE)


def _cells(matrix: Array) -> list[tuple[tuple[int, int], int]]:
    return [
        ((row, column), count)
        for row, counts in enumerate(matrix.tolist())
        for column, count in enumerate(counts)
        if count
    ]


def _drawn(draw: Callable[[Axes], None], inches: tuple[float, float]) -> bytes:
    matplotlib = need("matplotlib", extra="train", what="A report with pictures")
    figure_class = need("matplotlib.figure", extra="train", what="A report with pictures").Figure
    with matplotlib.rc_context(_STYLE):
        figure = figure_class(figsize=inches, layout="constrained")
        draw(figure.subplots())
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()
