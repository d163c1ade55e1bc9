"""Which panels of the chart's dashboards show something while models are asked."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import live
from panels import Answered, Panel, filled, panels
from scraping import SCRAPE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from live import Watched

FOLDER: Final = Path(__file__).parents[2] / "charts/modelservice-operator/files/dashboards"
# Rows whose source is somebody else's exporter: here it says what it was defined to say, and they count for themselves.
OF_OTHERS: Final = ("GPU", "vLLM")
_ROLL_AFTER_SECONDS: Final = 150
_PATIENCE_SECONDS: Final = 420  # five minutes until budgets have been counted once, and what it takes to load a model


def measured(seconds: int) -> tuple[dict[str, int], list[Answered]]:
    """Return how many panels show nothing after so many seconds, and all of them with what they show."""
    with live.watched() as watched:
        time.sleep(_ROLL_AFTER_SECONDS)
        watched.roll()
        time.sleep(max(0, seconds - _ROLL_AFTER_SECONDS))
        gives_up = time.monotonic() + _PATIENCE_SECONDS
        found = answered(watched)
        while time.monotonic() < gives_up and not (watched.is_settled() and all(each.shows for each in found)):
            time.sleep(SCRAPE_SECONDS)
            found = answered(watched)
    counts = dict.fromkeys(("panels", "empty_panels", "panels_of_others", "empty_panels_of_others"), 0)
    for each in found:
        whose = "panels_of_others" if each.panel.row in OF_OTHERS else "panels"
        counts[whose] += 1
        counts[f"empty_{whose}"] += not each.shows
        for query in each.unanswered:
            print(f"dashboards: {each.panel.title}: no answer to {query}", file=sys.stderr)
    return counts, found


def answered(watched: Watched) -> list[Answered]:
    """Ask what Grafana would ask now, about all of the time that there was."""
    found = [panel for file in sorted(FOLDER.glob("*.json")) for panel in panels(json.loads(file.read_text()))]
    now = time.time()
    return [Answered(panel, _answers(watched, panel, now)) for panel in found]


def _answers(watched: Watched, panel: Panel, now: float) -> list[Any]:
    queries = [filled(query, _chosen(panel), SCRAPE_SECONDS, SCRAPE_SECONDS) for query in panel.queries]
    if panel.body["type"] == "table":
        return [watched.prometheus.at(query, now) for query in queries]
    return [watched.prometheus.over(query, watched.began, now, SCRAPE_SECONDS) for query in queries]


def _chosen(panel: Panel) -> Mapping[str, str]:
    """Return what a reader has chosen: one model on its own dashboard, everything elsewhere."""
    if panel.dashboard != "modelservice":
        return {"namespace": ".*", "job": ".*"}
    return {"namespace": live.NAMESPACE, "name": live.LANGUAGE if panel.row == "vLLM" else live.MODEL}
