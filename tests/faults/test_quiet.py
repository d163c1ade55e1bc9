"""Nothing happens where nothing is to be done: many services with pods that serve, and not one write."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from faults import report
from faults.admin import model_service, services
from faults.state import State, is_settled
from faults.world import world
from sizes import IS_FULL

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.controlplane import ControlPlane

_SERVICES, _SECONDS = (500, 600) if IS_FULL else (20, 10)
_NAMESPACE = "quiet"


def test_settled_services_are_left_alone(plane: ControlPlane, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(plane, tmp_path) as here:
            await here.admin.namespaces([_NAMESPACE])
            here.proxy.begin("create", [_NAMESPACE])
            spec = {"model": {"uri": "file:///models/one"}, "replicas": 1}
            bodies = [model_service(f"m{number}", spec) for number in range(_SERVICES)]
            await asyncio.gather(*(here.admin.create(services(_NAMESPACE), body) for body in bodies))

            def all_ready(found: dict[str, State]) -> bool:
                state = found.get(_NAMESPACE, {})
                return is_settled(state) and sum(name.startswith("ModelService ") for name in state) == _SERVICES

            assert await here.until(all_ready), here.words()
            written, begun = len(here.proxy.writes), time.monotonic()
            await asyncio.sleep(_SECONDS)  # it is the silence that is looked for
            wrote = here.proxy.writes[written:]
            report.tell(quiet_seconds=int(time.monotonic() - begun), quiet_writes=len(wrote), quiet_services=_SERVICES)
            assert not wrote
            # It was silent, not dead: the next wish is heard.
            await here.admin.merge(services(_NAMESPACE, "m0"), {"spec": {"replicas": 2}})
            assert await here.until(lambda found: found[_NAMESPACE]["ModelService m0"]["status"]["replicas"] == 2)

    asyncio.run(story())
