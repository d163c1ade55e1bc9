from __future__ import annotations

import pytest

from modelservice_operator.render.disruption_budget import disruption_budget
from unit.operator.render.test_children import LABELS


def test_a_budget_in_full() -> None:
    assert disruption_budget("ml", "m", 3, ("m-1",)) == {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "m", "namespace": "ml", "labels": LABELS},
        "spec": {
            "minAvailable": 2,
            "selector": {"matchLabels": {"modelservice.dev/name": "m", "modelservice.dev/revision": "m-1"}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


@pytest.mark.parametrize(("replicas", "must_stay"), [(0, 0), (1, 0), (2, 1), (10, 9)])
def test_one_of_the_promised_pods_may_be_missing(replicas: int, must_stay: int) -> None:
    assert disruption_budget("ml", "m", replicas, ("m-1",))["spec"]["minAvailable"] == must_stay


@pytest.mark.parametrize(
    ("traffic", "labels"),
    [
        ((), {"modelservice.dev/name": "m", "modelservice.dev/revision": "none"}),
        (("m-1", "m-2"), {"modelservice.dev/name": "m"}),
    ],
)
def test_it_counts_the_pods_that_the_service_selects(traffic: tuple[str, ...], labels: dict[str, str]) -> None:
    assert disruption_budget("ml", "m", 3, traffic)["spec"]["selector"] == {"matchLabels": labels}
