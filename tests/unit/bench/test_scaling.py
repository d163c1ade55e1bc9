"""How `make bench-scaling` chooses and draws."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import contest
from cases import public
from contest import Outcome, Setting
from frontier import frontier

if TYPE_CHECKING:
    from pathlib import Path

LOW, HIGH, OTHER = (
    Setting(policy, words, lambda _: contest.Fixed(1)) for policy, words in (("A", "1"), ("A", "2"), ("B", "1"))
)


def test_a_peer_gets_one_setting_for_all_traces_and_attaining_comes_before_cost() -> None:
    found = {
        LOW: [Outcome(0.99, 10, 0), Outcome(0.94, 1, 0)],
        HIGH: [Outcome(0.96, 30, 0), Outcome(0.95, 3, 0)],
        OTHER: [Outcome(0.90, 1, 0), Outcome(0.90, 1, 0)],
    }
    oracles = [Outcome(0.95, 5, 0), Outcome(0.95, 1, 0)]
    assert contest.tuned(found, oracles) == [HIGH, OTHER]
    assert contest.cheapest({each: outcomes[0] for each, outcomes in found.items()}) == (LOW, found[LOW][0])
    assert contest.cheapest({OTHER: found[OTHER][0]}) is None


def test_every_peer_has_its_documented_defaults_in_the_grid_once() -> None:
    defaults = [each.policy for each in contest.settings() if each.is_default]
    assert sorted(defaults) == ["HPA on CPU", "HPA on in-flight", "KEDA", "KPA"]


def test_a_folder_of_traces_is_read_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "code.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(f"2023-11-16 18:{m:02}:00,9,9\n" for m in range(60))
    )
    (tmp_path / "other-load.csv").write_text("seconds\n1\n")
    (tmp_path / "image-qps.csv").write_text("seconds,requests_per_second\n0,1\n600,0\n")
    (tmp_path / "image-load.csv").write_text("seconds\n20\n")
    (tmp_path / "image-inference.csv").write_text("seconds\n5\n7\n")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    [(code, _), (image, loads)] = public(tmp_path)
    assert (code.name, image.name) == ("code", "image-qps")
    assert set(image.works) == {5.0, 7.0}
    assert loads == [30.0]


def test_the_frontier_is_drawn_with_a_panel_for_each_trace() -> None:
    setting = Setting("KPA", "70%", lambda _: contest.Fixed(1), is_default=True)
    drawn = frontier(
        ["one", "two"], {setting: [Outcome(0.97, 12, 3)] * 2}, [Outcome(0.98, 10, 3)] * 2, [Outcome(0.95, 8, 3)] * 2
    )
    told = [text.text for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 (we have just written it)
    assert {"one", "two", "95%", "Builtin as shipped"} <= set(told)
