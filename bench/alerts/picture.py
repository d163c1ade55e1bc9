"""Draws a dashboard with the answers to its questions, as an SVG file: panels where Grafana puts them, but plainer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from panels import Answered, Series

_COLUMN, _LINE, _GAP = 46, 27, 8
_COLOURS: Final = ("#3274d9", "#e0752d", "#37872d", "#a352cc", "#e02f44", "#c4a000", "#0aa1a8", "#806eb7")
_YES, _NO, _INK, _FAINT, _PALE = "#3274d9", "#c7d0d9", "#24292e", "#6a737d", "#e1e4e8"
_STEPS: Final = ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (math.inf, 1, "s"))


def picture(title: str, shown: Sequence[Answered], rows: Sequence[str]) -> str:
    """Return these rows of a dashboard, one below the other, over the time of their answers."""
    found = [each for each in shown if each.panel.row in rows]
    times = [time for each in found for answer in each.answers for _, points in answer for time, _ in points]
    begin, end = min(times), max(times)
    step = min(later - time for time, later in pairwise(sorted(set(times))))
    parts, y = [_text(_GAP, 22, title, size=15, weight="bold")], 34.0
    for row in rows:
        panels = [each for each in found if each.panel.row == row]
        top = min(each.panel.body["gridPos"]["y"] for each in panels)
        if row:
            parts.append(_text(_GAP, y + 16, row, size=13, weight="bold"))
            y += 24
        for each in panels:
            place = each.panel.body["gridPos"]
            x, at = place["x"] * _COLUMN + _GAP / 2, y + (place["y"] - top) * _LINE
            width, height = place["w"] * _COLUMN - _GAP, place["h"] * _LINE - _GAP
            margin = 84 if each.panel.body["type"] == "state-timeline" else 50
            parts += _Frame(x, at, width, height, begin, end, step, margin).draw(each)
        y += max(each.panel.body["gridPos"]["y"] + each.panel.body["gridPos"]["h"] for each in panels) * _LINE
        y -= top * _LINE
    width, height = 24 * _COLUMN, y + _GAP / 2
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{width}" height="{height:g}" fill="#f4f5f5"/>', *parts, "</svg>\n"])


@dataclass(frozen=True)
class _Frame:
    """Where one panel is drawn, and the time that its breadth stands for."""

    x: float
    y: float
    width: float
    height: float
    begin: float
    end: float
    step: float
    """Seconds from one value to the next."""
    margin: float
    """On the left, for what the axis says."""

    @property
    def left(self) -> float:
        return self.x + self.margin

    @property
    def right(self) -> float:
        return self.x + self.width - 10

    @property
    def top(self) -> float:
        return self.y + 28

    @property
    def bottom(self) -> float:
        return self.y + self.height - 34

    def draw(self, shown: Answered) -> Iterator[str]:
        """Give the panel with its title."""
        body = shown.panel.body
        yield _box(self.x, self.y, self.width, self.height, "white", stroke=_PALE)
        yield _text(self.x + 8, self.y + 17, body["title"], size=11, weight="bold")
        named = [
            (_name(target["legendFormat"], labels), points)
            for target, answer in zip(body["targets"], shown.answers, strict=True)
            for labels, points in answer
            if points
        ]
        unit = body["fieldConfig"]["defaults"]["unit"]
        match body["type"]:
            case "stat":
                yield from self._stat(named, unit, shows_name=body["options"]["textMode"] == "name")
            case "timeseries":
                yield from self._lines(named, unit, body)
            case "heatmap":
                [answer] = shown.answers
                yield from self._heat(answer, body["options"]["yAxis"]["unit"])
            case "state-timeline":
                yield from self._states(named)
            case "bargauge":
                yield from self._bars(named, unit)

    def _stat(self, named: Sequence[_Named], unit: str, *, shows_name: bool) -> Iterator[str]:
        latest = max((points[-1][0] for _, points in named), default=0)
        last = [(name, points[-1][1]) for name, points in named if points[-1][0] == latest]
        told = [name if shows_name else f"{_value(value, unit)} {name}".strip() for name, value in last]
        size = 17 if len(told) == 1 else 13
        yield _text(self.x + self.width / 2, self.y + self.height * 0.65, ", ".join(told), size=size, anchor="middle")

    def _lines(self, named: Sequence[_Named], unit: str, body: dict[str, Any]) -> Iterator[str]:
        values = [value for _, points in named for _, value in points]
        defaults = body["fieldConfig"]["defaults"]
        stacked = "stacking" in defaults["custom"]
        if stacked:
            named = _stacked(named)
            values = [value for _, points in named for _, value in points]
        least = min([*values, defaults.get("min", math.inf)], default=0)
        most = max([*values, defaults.get("max", -math.inf)], default=1)
        most = most if most > least else least + 1
        yield from self._axes(least, most, unit)
        stepped = "lineInterpolation" in defaults["custom"]
        for number, (_, points) in enumerate(named):
            for some in self._unbroken(points):
                corners = [(self._over(time), self._up((value - least) / (most - least))) for time, value in some]
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_steps(corners) if stepped else corners))
                path = path if len(some) > 1 else f"{path} {path}"  # a dot
                look = f'fill="none" stroke="{_colour(number)}" stroke-width="1.4" stroke-linecap="round"'
                yield f'<polyline points="{path}" {look}/>'
        yield from self._legend([name for name, _ in named])

    def _heat(self, answer: Sequence[Series], unit: str) -> Iterator[str]:
        bounds = sorted(answer, key=lambda each: float(each[0]["le"]))
        own: list[tuple[str, dict[float, float]]] = []
        below: dict[float, float] = {}
        for labels, points in bounds:
            at = dict(points)
            own.append((labels["le"], {time: value - below.get(time, 0) for time, value in points}))
            below = at
        used = [index for index, (_, counts) in enumerate(own) if any(value > 0.5 for value in counts.values())]
        if not used:
            return
        own = own[max(0, min(used) - 1) : max(used) + 1]
        most = max(value for _, counts in own for value in counts.values())
        height = (self.bottom - self.top) / len(own)
        yield from self._times()
        for index, (bound, counts) in enumerate(own):
            y = self.bottom - (index + 1) * height
            label = "more" if math.isinf(float(bound)) else _value(float(bound), unit)
            yield _text(self.left - 4, y + 6, label, size=8, anchor="end", fill=_FAINT)
            for time, value in counts.items():
                if value > 0.5:
                    width = self._over(time + self.step) - self._over(time)
                    x = min(self._over(time), self.right - width)
                    yield (
                        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height - 1:.1f}" fill="#e0752d" '
                        f'opacity="{0.1 + 0.9 * math.sqrt(value / most):.2f}"/>'
                    )

    def _states(self, named: Sequence[_Named]) -> Iterator[str]:
        height = (self.bottom - self.top) / max(1, len(named))
        yield from self._times()
        for number, (name, points) in enumerate(sorted(named)):
            y = self.top + number * height
            yield _text(self.left - 4, y + height / 2 + 3, name, size=8, anchor="end", fill=_FAINT)
            for some in self._unbroken(points):
                for value, group in groupby(some, key=lambda point: point[1]):
                    times = [time for time, _ in group]
                    x, end = self._over(times[0]), min(self.right, self._over(times[-1] + self.step))
                    yield _box(x, y + 1, end - x, height - 3, _YES if value else _NO)

    def _bars(self, named: Sequence[_Named], unit: str) -> Iterator[str]:
        most = max(points[-1][1] for _, points in named)
        for number, (name, points) in enumerate(named):
            y = self.top + 6 + number * 30
            width = (self.right - self.left - 60) * points[-1][1] / most
            yield _text(self.left + 4, y + 14, name, size=9, anchor="end", fill=_FAINT)
            yield _box(self.left + 10, y, width, 20, _YES)
            yield _text(self.left + 16 + width, y + 14, _value(points[-1][1], unit), size=10)

    def _axes(self, least: float, most: float, unit: str) -> Iterator[str]:
        yield from self._times()
        for part in (0, 0.5, 1):
            y = self._up(part)
            yield f'<path d="M{self.left:.0f} {y:.1f}H{self.right:.0f}" stroke="{_PALE}"/>'
            label = _value(least + part * (most - least), unit)
            yield _text(self.left - 4, y + 3, label, size=8, anchor="end", fill=_FAINT)

    def _times(self) -> Iterator[str]:
        for minute in range(int((self.end - self.begin) // 60) + 1):
            x = self._over(self.begin + 60 * minute)
            yield _text(x, self.bottom + 10, f"{minute} min" if minute else "0", size=7, anchor="middle", fill=_FAINT)

    def _legend(self, labels: Sequence[str]) -> Iterator[str]:
        x = self.x + 8
        for number, name in enumerate(labels):
            if x + 5.2 * len(name) > self.right:
                yield _text(x, self.y + self.height - 7, "...", size=8, fill=_FAINT)
                return
            yield _box(x, self.y + self.height - 13, 7, 3, _colour(number))
            yield _text(x + 10, self.y + self.height - 8, name, size=8)
            x += 18 + 4.6 * len(name)

    def _unbroken(self, points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
        """Give the parts of a series between the times in which it was not there."""
        some: list[tuple[float, float]] = []
        for time, value in points:
            if some and time - some[-1][0] > 1.5 * self.step:
                yield some
                some = []
            some.append((time, value))
        yield some

    def _over(self, time: float) -> float:
        return self.left + (self.right - self.left) * (time - self.begin) / (self.end - self.begin)

    def _up(self, part: float) -> float:
        return self.bottom - (self.bottom - self.top) * part


_Named = tuple[str, list[tuple[float, float]]]


def _steps(corners: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Hold each value until the next one."""
    for (x, y), (following, _) in zip(corners, [*corners[1:], corners[-1]], strict=True):
        yield from ((x, y), (following, y))


def _stacked(named: Sequence[_Named]) -> list[_Named]:
    """Put each series on top of those before it."""
    found: list[_Named] = []
    sums: dict[float, float] = {}
    for name, points in named:
        for time, value in points:
            sums[time] = sums.get(time, 0) + value
        found.append((name, [(time, sums[time]) for time, _ in points]))
    return found


def _name(legend: str, labels: dict[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend


def _value(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "s" if value:
            factor, name = next((factor, name) for below, factor, name in _STEPS if abs(value) < below)
            return f"{value * factor:.3g} {name}"
        case "reqps":
            return f"{value:.3g}/s"
    return f"{value:.3g}"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _text(
    x: float, y: float, text: str, *, size: float, anchor: str = "start", weight: str = "normal", fill: str = _INK
) -> str:
    more = "".join(
        f' {name}="{value}"'
        for name, value, usual in (("text-anchor", anchor, "start"), ("font-weight", weight, "normal"))
        if value != usual
    )
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}"{more}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str, *, stroke: str = "") -> str:
    edge = f' stroke="{stroke}"' if stroke else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" height="{height:.1f}" fill="{fill}"{edge}/>'
