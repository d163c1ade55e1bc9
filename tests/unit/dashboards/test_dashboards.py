"""The dashboards keep the rules of Grafana's dashboard-linter, but for job and instance, and some of their own.

That what they ask is PromQL about series that exist is tested with promtool (tests/controlplane), that it is answered
by `make bench-alerts`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dashboards import ALL
from dashboards.grafana import COLUMNS, SOURCE, TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.grafana import Dashboard

    Object = dict[str, Any]

CHART = Path(__file__).parents[3] / "charts/modelservice-operator"
FOLDER = CHART / "files/dashboards"
KINDS = {"stat", "timeseries", "heatmap", "state-timeline", "bargauge", "table"}
COUNTERS = re.compile(r"\b[\w:]+_(?:total|count|sum|bucket)\{")


def id_of(dashboard: Dashboard) -> str:
    return dashboard.uid


each_dashboard = pytest.mark.parametrize("dashboard", [each.body() for each in ALL], ids=map(id_of, ALL))


def panels(dashboard: Object) -> Iterator[Object]:
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def targets(dashboard: Object) -> Iterator[Object]:
    for panel in panels(dashboard):
        yield from panel["targets"]


def variables(dashboard: Object) -> list[Object]:
    found: list[Object] = dashboard["templating"]["list"]
    return found


def unit_of(panel: Object) -> str:
    """The unit of what is read off: in a heat map, of the axis."""
    where = panel["options"]["yAxis"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]
    return str(where["unit"])


def test_the_chart_has_what_the_source_says() -> None:
    assert {file.name: file.read_text() for file in FOLDER.iterdir()} == {
        f"{each.uid}.json": each.text() for each in ALL
    }, "run make dashboards"


@each_dashboard
def test_the_file_is_the_dashboard(dashboard: Object) -> None:
    assert json.loads((FOLDER / f"{dashboard['uid']}.json").read_text()) == dashboard


def test_dashboards_are_told_apart_and_lead_to_each_other() -> None:
    bodies = [each.body() for each in ALL]
    assert len({each["uid"] for each in bodies}) == len({each["title"] for each in bodies}) == len(bodies)
    for each in bodies:
        assert TAG in each["tags"]
        [link] = each["links"]
        assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == ("dashboards", [TAG], True, True)


@each_dashboard
def test_a_dashboard_says_what_it_is_and_is_not_edited_in_place(dashboard: Object) -> None:
    assert dashboard["description"].endswith(".")
    assert not dashboard["editable"]
    assert (dashboard["refresh"], dashboard["timezone"]) == ("30s", "")
    assert dashboard["schemaVersion"] >= 36  # from which on a data source has a type and a uid


@each_dashboard
def test_a_panel_says_what_it_shows_in_which_unit_and_what_it_means_that_there_is_nothing(dashboard: Object) -> None:
    for panel in panels(dashboard):
        assert panel["type"] in KINDS
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert unit_of(panel), panel["title"]
        always = all("vector(0)" in target["expr"] for target in panel["targets"])
        assert always or panel["fieldConfig"]["defaults"]["noValue"].endswith("."), panel["title"]


@each_dashboard
def test_numbers_and_titles_are_used_once(dashboard: Object) -> None:
    everything = [*dashboard["panels"], *(each for row in dashboard["panels"] for each in row.get("panels", ()))]
    numbers = [panel["id"] for panel in everything]
    assert len(set(numbers)) == len(numbers)
    for row in by_row(dashboard):
        titles = [panel["title"] for panel in row]
        assert len(set(titles)) == len(titles)


def by_row(dashboard: Object) -> Iterator[list[Object]]:
    """The panels of each row, and before the first."""
    group: list[Object] = []
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield group
            group = list(panel["panels"])
        else:
            group.append(panel)
    yield group


@each_dashboard
def test_no_panel_lies_over_another_or_hangs_over_the_edge(dashboard: Object) -> None:
    for group in (dashboard["panels"], *(row["panels"] for row in dashboard["panels"] if row["type"] == "row")):
        places = [panel["gridPos"] for panel in group]
        cells = [
            (x, y)
            for place in places
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert all(x < COLUMNS for x, _ in cells)


@each_dashboard
def test_the_reader_chooses_the_data_source_and_everything_asks_it(dashboard: Object) -> None:
    first, *others = variables(dashboard)
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    asked = [*others, *panels(dashboard), *targets(dashboard)]
    assert all(each["datasource"] == SOURCE for each in asked)


@each_dashboard
def test_every_variable_is_defined_and_used(dashboard: Object) -> None:
    defined = {each["name"]: each for each in variables(dashboard)}
    assert all(each["label"] for each in defined.values())
    used = {name for name in re.findall(r"\$\{?(\w+)", json.dumps(dashboard)) if not name.startswith("__")}
    assert used - {"1"} == defined.keys()  # $1 is a group of a regular expression
    for query in (target["expr"] for target in targets(dashboard)):
        for operator, name in re.findall(r'(=~?)"\$(\w+)"', query):
            assert operator == ("=~" if "multi" in defined[name] else "="), query


@each_dashboard
def test_every_question_is_about_what_was_chosen(dashboard: Object) -> None:
    names = {each["name"] for each in variables(dashboard)} - {"datasource"}
    for target in targets(dashboard):
        for selector in re.findall(r"\{([^{}]*)\}", target["expr"]):
            assert all(f"${name}" in selector for name in names), target["expr"]


@each_dashboard
def test_rates_follow_the_resolution_and_counters_are_only_seen_as_rates(dashboard: Object) -> None:
    for target in targets(dashboard):
        assert set(re.findall(r"\[(.*?)\]", without_strings(target["expr"]))) <= {"$__rate_interval"}, target["expr"]
        for found in COUNTERS.finditer(target["expr"]):
            assert re.search(r"\b(?:rate|increase)\($", target["expr"][: found.start()]), target["expr"]


@each_dashboard
def test_quantiles_keep_the_bounds_and_sums_come_after_rates(dashboard: Object) -> None:
    for target in targets(dashboard):
        assert not re.search(r"(?:rate|increase)\((?:sum|max|min|avg)\b", target["expr"])
        if "histogram_quantile(" in target["expr"]:
            assert re.search(r"histogram_quantile\([\d.]+, sum by \(le", target["expr"])


@each_dashboard
def test_series_have_names_where_there_are_several(dashboard: Object) -> None:
    for panel in panels(dashboard):
        if panel["type"] != "table":
            legends = [target["legendFormat"] for target in panel["targets"]]
            assert len(set(legends)) == len(legends), panel["title"]
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = set(re.findall(r"\w+", " ".join(re.findall(r" by \((.*?)\)", target["expr"]))))
            assert labels <= kept, target["expr"]


@each_dashboard
def test_links_lead_to_a_dashboard_that_is_there(dashboard: Object) -> None:
    for panel in panels(dashboard):
        for url in re.findall(r'"url": "(.*?)"', json.dumps(panel)):
            path, _, question = url.partition("?")
            [led_to] = [each for each in ALL if path == f"/d/{each.uid}"]
            known = {each["name"] for each in variables(led_to.body())}
            assert set(re.findall(r"var-(\w+)=", question)) == known


def test_an_alert_leads_to_the_dashboard_of_its_model() -> None:
    values = (CHART / "values.yaml").read_text()
    [uid, question] = re.findall(r"https://grafana\.example\.com/d/([\w-]+)\?(\S+)", values)[0]
    [model] = [each.body() for each in ALL if each.uid == uid]
    chosen = {each["name"] for each in variables(model)} - {"datasource"}
    assert dict(re.findall(r"var-(\w+)=(\{\w+\})", question)) == {name: f"{{{name}}}" for name in chosen}


def test_a_row_whose_source_may_be_missing_is_folded_and_the_chart_can_leave_it_out() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = schema["properties"]["selfMonitoring"]["properties"]["dashboard"]["properties"]["rows"]["items"]["enum"]
    rows = [panel for each in ALL for panel in each.body()["panels"] if panel["type"] == "row"]
    assert sorted(row["title"] for row in rows if row["collapsed"]) == sorted(known)


def without_strings(query: str) -> str:
    return re.sub(r'"[^"]*"', '""', query)
