"""The algorithm that the simulator has of the HPA asks for what the real controller asked for, alone and behind KEDA.

bench/scaling/recorded.json is written by tests/controlplane/record.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelservice_operator.scaling.simulator.hpa import Hpa, Metric
from modelservice_operator.scaling.simulator.recorded import Sync, differences, sequence

RECORDED = json.loads((Path(__file__).parents[3] / "bench/scaling/recorded.json").read_text())


@pytest.mark.parametrize("steps", ["hpa_steps", "keda_steps"])
def test_the_algorithm_asks_for_the_replicas_that_the_real_controller_asked_for(steps: str) -> None:
    syncs = [
        Sync(time, metric, ready=ready, before=before, after=after)
        for time, metric, before, ready, after in RECORDED[steps]
    ]
    algorithm = Hpa(
        Metric.INFLIGHT,
        target=RECORDED["target"],
        min_replicas=RECORDED["min_replicas"],
        max_replicas=RECORDED["max_replicas"],
        stabilization=RECORDED["stabilization_seconds"],
    )
    assert differences(algorithm, syncs) == []
    assert sequence(syncs) == [1, 5, 8, 3]
