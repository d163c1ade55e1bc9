"""Every panel of the chart's dashboards shows something while models are asked. Three minutes; see bench/alerts."""

from __future__ import annotations

import shown
from sizes import only_full


@only_full("takes minutes")
def test_no_panel_is_empty_under_load() -> None:
    counts, _ = shown.measured(180)
    assert counts["panels"] >= 20
    assert (counts["empty_panels"], counts["empty_panels_of_others"]) == (0, 0)
