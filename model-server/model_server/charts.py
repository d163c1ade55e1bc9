"""Pictures for reports, drawn by matplotlib as SVG: the same numbers give the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from model_server.extras import need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STYLE = {"svg.hashsalt": "model-server", "svg.fonttype": "none", "font.family": "sans-serif", "axes.grid": True}
_INCHES = (7.0, 3.5)


def require_charts() -> None:
    """Say at the start, not at the end, that pictures cannot be drawn."""
    need("matplotlib.figure", extra="train", what="A report with pictures")


def curves(
    lines: Mapping[str, Sequence[float]], *, x: str, y: str, log: bool = False, mark: int | None = None
) -> bytes:
    """Draw figures over a count from 1, and mark one of its values."""

    def draw(axes: Any) -> None:  # noqa: ANN401  # matplotlib's
        for name, values in lines.items():
            axes.plot(range(1, len(values) + 1), values, label=name, linewidth=1.2)
        if mark is not None:
            axes.axvline(mark, color="grey", linestyle=":", label=f"{x} {mark}")
        axes.set(xlabel=x, ylabel=y, yscale="log" if log else "linear")
        axes.legend()

    return _drawn(draw)


def _drawn(draw: Any) -> bytes:  # noqa: ANN401
    matplotlib = need("matplotlib", extra="train", what="A report with pictures")
    figure_class = need("matplotlib.figure", extra="train", what="A report with pictures").Figure
    with matplotlib.rc_context(_STYLE):
        figure = figure_class(figsize=_INCHES, layout="constrained")
        draw(figure.subplots())
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()
