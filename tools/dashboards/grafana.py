"""What Grafana calls dashboards, rows, panels and variables, and the JSON that it reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Object = dict[str, Any]

TAG: Final = "modelservice"
COLUMNS: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_ALL: Final = "$__all"


@dataclass(frozen=True)
class Query:
    """One question of a panel; `legend` names the series of its answer."""

    expr: str
    legend: str = ""
    format: str = "time_series"
    """`heatmap` takes the series for buckets, `table` takes their last values."""


@dataclass(frozen=True)
class Panel:
    """One panel. `description` says what its reader may conclude, `nothing` what it means that there is no data."""

    type: str
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int
    height: int
    nothing: str
    defaults: Object = field(default_factory=dict)
    overrides: tuple[Object, ...] = ()
    options: Object = field(default_factory=dict)
    transformations: tuple[Object, ...] = ()

    def body(self, number: int, x: int, y: int) -> Object:
        """Return it at a place."""
        defaults = {"unit": self.unit, **({"noValue": self.nothing} if self.nothing else {}), **self.defaults}
        return {
            "id": number,
            "type": self.type,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": list(self.overrides)},
            **({"options": self.options} if self.options else {}),
            **({"transformations": list(self.transformations)} if self.transformations else {}),
            "targets": [_target(letter, each) for letter, each in zip("ABCDEFGH", self.queries, strict=False)],
        }


def _target(letter: str, query: Query) -> Object:
    is_table = query.format == "table"
    return {
        "refId": letter,
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": query.format,
        **({"instant": True, "range": False} if is_table else {}),
    }


# -- kinds of panels


def stat(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    steps: Sequence[tuple[str, float]] = (),
    shows_name: bool = False,
    nothing: str = "",
) -> Panel:
    """Return one number, or the name of what there is; from each of `steps` on it has another colour."""
    return Panel(
        type="stat",
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        width=width,
        height=4,
        nothing=nothing,
        defaults=_colours(steps),
        options={
            "reduceOptions": {"calcs": ["lastNotNull"]},
            "textMode": "name" if shows_name else "auto",
            "colorMode": "value" if steps else "none",
            "graphMode": "none" if shows_name else "area",
        },
    )


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    stacked: bool = False,
    stepped: bool = False,
    most: float | None = None,
    least: float | None = 0,
    nothing: str = "",
) -> Panel:
    """Return values over time. `least` and `most` bound the axis."""
    custom: Object = {"fillOpacity": 30 if stacked else 8, "showPoints": "never"}
    custom |= {"stacking": {"mode": "normal"}} if stacked else {}
    custom |= {"lineInterpolation": "stepAfter"} if stepped else {}
    bounds = {"min": least, "max": most}
    return Panel(
        type="timeseries",
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        width=width,
        height=7,
        nothing=nothing,
        defaults={key: value for key, value in bounds.items() if value is not None} | {"custom": custom},
        options={
            "tooltip": {"mode": "multi", "sort": "desc"},
            "legend": {"displayMode": "list", "placement": "bottom"},
        },
    )


def heat_map(title: str, description: str, unit: str, expr: str, *, width: int = 8, nothing: str = "") -> Panel:
    """Return how many fell into which bucket, over time."""
    return Panel(
        type="heatmap",
        title=title,
        description=description,
        unit="short",
        queries=(Query(expr, "{{le}}", "heatmap"),),
        width=width,
        height=7,
        nothing=nothing,
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "steps": 64},
            "filterValues": {"le": 1e-9},
            "rowsFrame": {"layout": "auto"},
            "yAxis": {"unit": unit},
            "tooltip": {"mode": "single", "yHistogram": True},
            "legend": {"show": False},
        },
    )


def states(title: str, description: str, *queries: Query, width: int = 8, nothing: str = "") -> Panel:
    """Return what holds (1) and what does not (0), over time."""
    words = {"1": {"text": "yes", "color": "blue", "index": 0}, "0": {"text": "no", "color": "#c7d0d9", "index": 1}}
    return Panel(
        type="state-timeline",
        title=title,
        description=description,
        unit="none",
        queries=queries,
        width=width,
        height=7,
        nothing=nothing,
        defaults={
            "mappings": [{"type": "value", "options": words}],
            "custom": {"fillOpacity": 70, "lineWidth": 0},
            "color": {"mode": "thresholds"},
        },
        options={"mergeValues": True, "showValue": "never", "legend": {"displayMode": "list", "placement": "bottom"}},
    )


def bars(title: str, description: str, unit: str, *queries: Query, width: int = 8, nothing: str = "") -> Panel:
    """Return the last value of each series, beside each other."""
    return Panel(
        type="bargauge",
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        width=width,
        height=7,
        nothing=nothing,
        defaults={"min": 0},
        options={"orientation": "horizontal", "displayMode": "basic", "reduceOptions": {"calcs": ["lastNotNull"]}},
    )


@dataclass(frozen=True)
class Column:
    """A column of a table: a question's last values, or a label of theirs. Without an `expr` it is a label."""

    title: str
    expr: str = ""
    label: str = ""
    unit: str = "short"
    steps: tuple[tuple[str, float], ...] = ()
    link: str = ""

    def override(self) -> Object:
        """Return how its cells look."""
        looks: list[Object] = [{"id": "unit", "value": self.unit}] if self.expr else []
        if self.steps:
            looks += [{"id": "custom.cellOptions", "value": {"type": "color-text"}}]
            looks += [{"id": key, "value": value} for key, value in _colours(self.steps).items()]
        if self.link:
            looks += [{"id": "links", "value": [{"title": "Look at it", "url": self.link}]}]
        return {"matcher": {"id": "byName", "options": self.title}, "properties": looks}


def table(title: str, description: str, *columns: Column, width: int = 24, height: int = 9, nothing: str = "") -> Panel:
    """Return a line for each set of labels that the questions have in common. One without a title is not shown."""
    asked = [each for each in columns if each.expr]
    fields = {each.title: f"Value #{letter}" for letter, each in zip("ABCDEFGH", asked, strict=False)}
    fields |= {each.title: each.label for each in columns if each.label}
    shown = [each for each in columns if each.title]
    hidden = {"Time": True} | ({fields[""]: True} if "" in fields else {})
    organized = {
        "excludeByName": hidden,
        "indexByName": {fields[each.title]: index for index, each in enumerate(shown)},
        "renameByName": {fields[each.title]: each.title for each in shown},
    }
    return Panel(
        type="table",
        title=title,
        description=description,
        unit="short",
        queries=tuple(Query(each.expr, format="table") for each in asked),
        width=width,
        height=height,
        nothing=nothing,
        overrides=tuple(over for each in shown if (over := each.override())["properties"]),
        transformations=({"id": "merge", "options": {}}, {"id": "organize", "options": organized}),
    )


def _colours(steps: Sequence[tuple[str, float]]) -> Object:
    """Return the thresholds; the first colour holds from the least number on."""
    if not steps:
        return {}
    values = [{"color": colour, "value": value if index else None} for index, (colour, value) in enumerate(steps)]
    return {"thresholds": {"mode": "absolute", "steps": values}, "color": {"mode": "thresholds"}}


# -- what panels are in


@dataclass(frozen=True)
class Row:
    """Panels under a title. One that is `folded` asks nothing until it is opened: its source may not be there."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@dataclass(frozen=True)
class Variable:
    """What a reader chooses: a value of a label of those series, or `many` values."""

    name: str
    title: str
    series: str
    label: str
    many: bool = False

    def body(self) -> Object:
        """Return it as Grafana reads it."""
        query = f"label_values({self.series}, {self.label})"
        every = {"includeAll": True, "multi": True, "allValue": ".*", "current": {"text": ["All"], "value": [_ALL]}}
        return {
            "name": self.name,
            "label": self.title,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": self.name},
            "definition": query,
            "refresh": 2,
            "sort": 1,
            **(every if self.many else {"current": {}}),
        }


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; the panels before the first row have no title above them."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def body(self) -> Object:
        """Return it as Grafana reads it."""
        source = {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
        }
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "timezone": "",
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "schemaVersion": 39,
            "version": 1,
            "time": {"from": "now-3h", "to": "now"},
            "links": [
                {"title": "ModelService", "type": "dashboards", "tags": [TAG], "asDropdown": True, "keepTime": True}
                | {"includeVars": True}
            ],
            "templating": {"list": [source, *(each.body() for each in self.variables)]},
            "panels": list(self._panels()),
        }

    def text(self) -> str:
        """Return the file: a panel and a variable on each line, so that a change shows where it is."""
        body = self.body()
        lists = {"panels": body.pop("panels"), "templating": body.pop("templating")["list"]}
        listed = {
            key: ",\n    ".join(json.dumps(each, ensure_ascii=False) for each in some) for key, some in lists.items()
        }
        head = "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in body.items())
        variables, panels = listed["templating"], listed["panels"]
        return f'{{\n{head}  "templating": {{"list": [\n    {variables}\n  ]}},\n  "panels": [\n    {panels}\n  ]\n}}\n'

    def _panels(self) -> Iterator[Object]:
        numbers, y = count(1), 0
        for row in self.rows:
            header: Object = {}
            if row.title:
                header = {"id": next(numbers), "type": "row", "title": row.title, "collapsed": row.folded}
                header |= {"gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": []}
                y += 1
            placed, end = _placed(row.panels, y)
            bodies = [panel.body(next(numbers), x, at) for panel, x, at in placed]
            if header:
                yield header | {"panels": bodies if row.folded else []}
            if not row.folded:
                yield from bodies
                y = end


def _placed(panels: Sequence[Panel], y: int) -> tuple[list[tuple[Panel, int, int]], int]:
    """Put panels side by side from `y` on, as many as fit; also tell where the next row begins."""
    placed, x, lowest = [], 0, y
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y = 0, lowest
        placed.append((panel, x, y))
        x, lowest = x + panel.width, max(lowest, y + panel.height)
    return placed, lowest
