"""What `make bench-alerts` asks for the panels of the dashboards, and when it takes one for empty."""

from __future__ import annotations

from typing import Any

import pytest

import gpus
from panels import Answered, Panel, filled, series


def panel(kind: str = "timeseries") -> Panel:
    return Panel("d", "", {"title": "T", "type": kind, "targets": [{"expr": "a"}, {"expr": "b"}]})


def some(*values: float) -> list[Any]:
    return [({}, [(float(time), value) for time, value in enumerate(values)])]


def test_variables_are_filled_in_and_rates_reach_over_four_scrapes_at_least() -> None:
    query = 'rate(x{n="$name"}[$__rate_interval])'
    assert filled(query, {"name": "nlp"}, step=5, scrape=5) == 'rate(x{n="nlp"}[20s])'
    assert filled(query, {"name": "nlp"}, step=60, scrape=15) == 'rate(x{n="nlp"}[75s])'
    assert filled('label_replace(x, "pod", "$1", "p", "(.+)")', {}, 5, 5).count("$1") == 1


def test_a_variable_that_nobody_chose_is_an_error() -> None:
    with pytest.raises(KeyError):
        filled("$other", {}, 5, 5)


def test_answers_of_a_moment_and_of_a_time_are_read_alike_and_nan_is_nothing() -> None:
    moment = {"result": [{"metric": {"a": "b"}, "value": [1.0, "2"]}]}
    assert series(moment) == [({"a": "b"}, [(1.0, 2.0)])]
    [(_, points)] = series({"result": [{"metric": {}, "values": [[1, "NaN"], [2, "3"]]}]})
    assert points == [(2.0, 3.0)]


def test_a_panel_shows_something_where_a_question_is_answered_and_a_table_where_all_are() -> None:
    assert not Answered(panel(), [[], []]).shows
    assert Answered(panel(), [[], some(0)]).shows
    assert not Answered(panel("table"), [[], some(0)]).shows
    assert Answered(panel("table"), [some(1), some(0)]).shows
    [(labels, points)] = series({"result": [{"metric": {}, "values": [[1, "NaN"]]}]})
    assert not Answered(panel(), [[(labels, points)], []]).shows


def test_an_exporter_of_gpus_names_the_pods() -> None:
    text = gpus.exposition("ml", ["nlp-a-b-c"])
    assert 'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-' in text
    assert text.count('namespace="ml",pod="nlp-a-b-c"} ') == len(gpus.METRICS)
