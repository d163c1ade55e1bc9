"""The operator is killed before and after every write of every rollout, and every write meets one other fault.

What must hold is what holds for the sweep of test_sweep.py. The sample meets a thirtieth of the deaths.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from faults.outcomes import metrics_told
from faults.rollouts import ROLLOUTS
from faults.sweep import judge, sweep
from faults.world import world
from sizes import IS_FULL

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.controlplane import ControlPlane

_OF_DEATHS, _OF_OTHER_FAULTS = (1, 1 / 11) if IS_FULL else (1 / 30, 1 / 250)


def test_every_death_in_every_rollout_ends_where_a_life_without_faults_ends(
    plane: ControlPlane, tmp_path: Path
) -> None:
    async def story() -> None:
        async with metrics_told(), world(plane, tmp_path) as here:
            found = await sweep(here, ROLLOUTS, share=_OF_OTHER_FAULTS, share_of_deaths=_OF_DEATHS)
            judge(found, here.crashes)
            assert len(found.met) >= (600 if IS_FULL else 20)

    asyncio.run(story())
