from __future__ import annotations

import pytest

from modelservice_operator.config import AcceleratorClass
from modelservice_operator.price import price_per_hour
from modelservice_operator.rollout.situation import Entry, Situation, Workload
from unit.operator.makers import CONFIG

PRICED = CONFIG.model_copy(
    update={
        "accelerators": {
            "l4": AcceleratorClass(resource="nvidia.com/gpu", price_per_hour=0.5),
            "big": AcceleratorClass(price_per_hour=0.25),
            "free": AcceleratorClass(resource="nvidia.com/gpu", price_per_hour=0),
            "unpriced": AcceleratorClass(resource="nvidia.com/gpu"),
        }
    }
)


def revision(name: str, **accelerator: object) -> Entry:
    return Entry(name, 1, spec={"accelerator": accelerator} if accelerator else {})


def cost(*revisions: tuple[Entry, int]) -> float | None:
    loads = {entry.name: Workload(pods=pods) for entry, pods in revisions}
    return price_per_hour(Situation("a", 1, ledger=tuple(entry for entry, _ in revisions), workloads=loads), PRICED)


@pytest.mark.parametrize(
    ("accelerator", "price"),
    [
        ({"class": "l4"}, 1.5),
        ({"class": "l4", "count": 2}, 3.0),
        ({"class": "big", "count": 2}, 0.75),  # the count is of devices, of which this class has none
        ({"class": "free"}, 0.0),
        ({"class": "unpriced"}, None),
        ({"class": "gone"}, None),
        ({"resource": "nvidia.com/gpu"}, None),
        ({}, None),
    ],
)
def test_three_pods_cost_what_their_devices_do(accelerator: dict[str, object], price: float | None) -> None:
    assert cost((revision("a", **accelerator), 3)) == price


def test_pods_of_every_revision_cost_also_those_on_their_way_out() -> None:
    assert (
        cost((revision("a", **{"class": "l4"}), 1), (revision("b", **{"class": "big"}), 2), (revision("c"), 9)) == 1.0
    )


def test_a_service_without_pods_costs_nothing() -> None:
    assert cost((revision("a", **{"class": "l4"}), 0)) == 0.0
