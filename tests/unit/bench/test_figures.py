"""What `make bench-server` says of what it has seen."""

import pytest

from figures import against_raw, compared, fastest, p50, rotated, table
from load import Load


def loads(*per_second: float, p50_ms: float = 1.0, p99_ms: float = 2.0) -> list[Load]:
    return [Load(each, p50_ms, p99_ms) for each in per_second]


def test_no_server_always_comes_first() -> None:
    orders = [rotated(["a", "b", "c"], turn) for turn in range(4)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_the_best_peer_is_the_fastest_of_others_by_its_median() -> None:
    seen = {"ours": loads(900), "a": loads(100, 500, 110), "b": loads(120, 130, 125)}
    assert fastest(seen) == "b"


def test_the_best_of_times_is_the_shortest() -> None:
    assert fastest({"a": loads(1, p50_ms=3.0), "b": loads(1, p50_ms=2.0)}, p50) == "b"


def test_each_figure_is_ours_beside_the_right_other() -> None:
    seen = {
        "tiny, 64 connections": {"ours": loads(30), "mosec": loads(20), "kserve": loads(1), "limit": loads(50)},
        "tiny, 1 connection": {
            "ours": loads(1, p50_ms=0.1),
            "mosec": loads(1, p50_ms=2.0),
            "kserve": loads(1),
            "limit": loads(1, p50_ms=0.05),
        },
        "tiny, 1 connection, one CPU": {"ours": loads(1, p50_ms=0.1), "mosec": loads(1, p50_ms=0.2)},
        "tiny, steady": {"ours": loads(10, p99_ms=1.0), "mosec": loads(10, p99_ms=4.0)},
        "image, JSON": {"ours": loads(12), "mosec": loads(10), "kserve": loads(9)},
        "image, binary": {"ours": loads(80), "limit": loads(100)},
    }
    assert compared(seen) == {
        "best_peer": "mosec",
        "tiny_vs_best_peer": 1.5,
        "tiny_vs_kserve": 30.0,
        "tiny_limit_vs_kserve": 50.0,
        "tiny_p99_vs_peer": 0.25,
        "tiny_p99_closed_vs_peer": 1.0,
        "single_p50_vs_peer": 0.1,
        "single_p50_limit_vs_peer": 0.05,
        "single_p50_one_cpu_vs_peer": 0.5,
        "binary_vs_limit": 0.8,
        "json_vs_best_peer": 1.2,
    }


def test_what_was_not_measured_has_no_figure() -> None:
    told = compared({"tiny, 64 connections": {"ours": loads(30)}})
    assert set(told.values()) == {None}


def test_the_lower_precision_is_the_figure_and_rounds_are_compared_with_their_own_limit() -> None:
    ours = {"float32": loads(90, 45, 95), "bfloat16": loads(160, 170, 150)}
    raw = {"float32": [100.0, 50.0, 100.0], "bfloat16": [200.0, 200.0, 200.0]}
    assert against_raw(ours, raw) == {
        "medium_vs_raw_float32": pytest.approx(0.9),
        "medium_vs_raw_bfloat16": pytest.approx(0.8),
        "medium_vs_raw": pytest.approx(0.8),
    }


def test_the_table_puts_the_fastest_on_top() -> None:
    lines = table({"tiny": {"a": loads(1), "b": loads(2)}}).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["b", "a"]
