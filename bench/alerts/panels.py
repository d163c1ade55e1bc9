"""What Grafana asks for each panel of a dashboard, and whether the answers show anything."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Object = dict[str, Any]
Series = tuple[dict[str, str], list[tuple[float, float]]]
"""Labels; and times with values, NaN left out: of that Grafana shows nothing."""


@dataclass(frozen=True)
class Panel:
    """One panel, as a dashboard's file has it."""

    dashboard: str
    row: str
    body: Object

    @property
    def title(self) -> str:
        """Its name in what is reported."""
        return " / ".join(filter(None, (self.dashboard, self.row, self.body["title"])))

    @property
    def queries(self) -> list[str]:
        """What it asks, with variables."""
        return [target["expr"] for target in self.body["targets"]]


@dataclass(frozen=True)
class Answered:
    """A panel with the answer to each of its questions."""

    panel: Panel
    answers: list[list[Series]]

    @property
    def shows(self) -> bool:
        """Whether there is something to be seen; in a table, in each of its columns."""
        is_table = self.panel.body["type"] == "table"
        return not self.unanswered if is_table else len(self.unanswered) < len(self.answers)

    @property
    def unanswered(self) -> list[str]:
        """The questions that nothing answers."""
        return [
            query
            for query, answer in zip(self.panel.queries, self.answers, strict=True)
            if not any(points for _, points in answer)
        ]


def panels(dashboard: Object) -> Iterator[Panel]:
    """Give the panels of a dashboard; those of folded rows, too."""
    row = ""
    for body in dashboard["panels"]:
        if body["type"] != "row":
            yield Panel(dashboard["uid"], row, body)
            continue
        row = body["title"]
        for each in body["panels"]:
            yield Panel(dashboard["uid"], row, each)


def filled(query: str, chosen: Mapping[str, str], step: int, scrape: int) -> str:
    """Put in what Grafana puts in: what was chosen, and an interval over which a rate is one at this resolution.

    By its documentation of the Prometheus data source the interval is max($__interval + scrape, 4 * scrape).
    """
    known = {**chosen, "__rate_interval": f"{max(step + scrape, 4 * scrape)}s"}
    return re.sub(r"\$([a-z_]+)", lambda variable: known[variable[1]], query)


def series(answer: Object) -> list[Series]:
    """Read what Prometheus answers, of a moment or of a time."""
    return [(each["metric"], list(_points(each.get("values") or [each["value"]]))) for each in answer["result"]]


def _points(values: list[tuple[float, str]]) -> Iterator[tuple[float, float]]:
    for time, text in values:
        value = float(text)
        if not math.isnan(value):
            yield float(time), value
