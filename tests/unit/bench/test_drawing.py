"""How `make bench-alerts` draws what a dashboard shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from dashboards import service
from panels import Answered, panels
from picture import picture

if TYPE_CHECKING:
    from panels import Panel

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_has_every_panel_of_the_rows_and_nothing_outside() -> None:
    found = [
        Answered(each, [_waves(each, target["legendFormat"]) for target in each.body["targets"]])
        for each in panels(service.DASHBOARD.body())
    ]
    rows = [row for row in dict.fromkeys(each.panel.row for each in found) if row not in {"GPU", "vLLM"}]
    drawn = picture("ModelService / Model: ml / nlp", found, rows)
    assert len(drawn) < 200_000
    root = ET.fromstring(drawn)  # noqa: S314 (we have just written it)
    told = [text.text for text in root.iter(f"{SVG}text")]
    assert told[0] == "ModelService / Model: ml / nlp"
    assert {each.panel.body["title"] for each in found if each.panel.row in rows} <= set(told)
    assert "GPU power" not in told
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for box in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.attrib.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height


def _waves(panel: Panel, legend: str) -> list[Any]:
    """Two series over four minutes; for a heat map a bucket for each of some bounds."""
    names = ["0.005", "0.01", "0.05", "+Inf"] if panel.body["type"] == "heatmap" else ["one", "another"]
    label = legend.strip("{}") if "{{" in legend else "x"
    return [
        ({label: name}, [(5.0 * step, number + 1 + math.sin(step / 5 + number)) for step in range(48)])
        for number, name in enumerate(names if "{{" in legend else names[:1])
    ]
