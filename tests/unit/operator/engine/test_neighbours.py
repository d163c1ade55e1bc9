"""A neighbour lives while its Lease changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modelservice_operator.engine.neighbours import Neighbours
from modelservice_operator.kube.errors import Forbidden, NotFound, Unavailable

if TYPE_CHECKING:
    from modelservice_operator.kube.errors import KubeError
    from modelservice_operator.kube.resources import Body, Resource

OTHER = "blue-system/modelservice-operator-blue"


class World:
    """One Lease, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.spec: Body = {"holderIdentity": "blue-0", "leaseDurationSeconds": 10, "renewTime": 0}
        self.error: KubeError | None = None
        self.looks = 0
        self.neighbours = Neighbours(self, "green-system/modelservice-operator-green", clock=lambda: self.now)

    async def get(self, resource: Resource, namespace: str, name: str) -> Body:
        assert (str(resource), f"{namespace}/{name}") == ("leases.coordination.k8s.io", OTHER)
        self.looks += 1
        if self.error is not None:
            raise self.error
        return {"spec": dict(self.spec)}

    async def keeper(self, after: float = 0.0) -> str:
        self.now += after
        return await self.neighbours.keeper(OTHER)


async def test_what_is_ours_or_nobody_s_is_not_asked_about() -> None:
    world = World()
    assert await world.neighbours.keeper("green-system/modelservice-operator-green") == ""
    assert await world.neighbours.keeper("") == ""
    assert world.looks == 0


async def test_one_that_renews_lives() -> None:
    world = World()
    for moment in range(20):
        world.spec["renewTime"] = moment
        assert await world.keeper(after=5) == f"whose lease {OTHER} is held by blue-0"


async def test_one_that_is_not_seen_to_renew_for_the_time_of_its_lease_is_dead_and_may_come_back() -> None:
    world = World()
    assert await world.keeper(), "who has just come knows nothing"
    assert await world.keeper(after=9.9)
    assert await world.keeper(after=0.2) == ""
    assert await world.keeper(after=60) == ""
    world.spec["renewTime"] = 1
    assert await world.keeper(after=5)


async def test_one_that_has_released_its_lease_is_gone_at_once() -> None:
    world = World()
    assert await world.keeper()
    world.spec["holderIdentity"] = ""
    assert await world.keeper(after=2) == ""


async def test_one_without_a_lease_is_gone_and_one_whose_lease_may_not_be_read_is_not() -> None:
    world = World()
    world.error = NotFound("there is none")
    assert await world.keeper() == ""
    world.error = Forbidden("leases is forbidden")
    words = f"whose lease {OTHER} counts as held, as it cannot be read (leases is forbidden)"
    assert await world.keeper(after=2) == words
    assert await world.keeper(after=600)


async def test_an_outage_decides_nothing() -> None:
    world = World()
    assert await world.keeper()
    world.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await world.keeper(after=60)


async def test_thousands_of_services_cost_one_look() -> None:
    world = World()
    for _ in range(1000):
        await world.keeper()
    assert world.looks == 1
