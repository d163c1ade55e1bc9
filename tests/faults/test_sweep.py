"""The operator is killed before and after every write of a service's life, and every write meets every fault.

Each life has to end in every step where a life without faults ends, to leave nothing behind, and to fall silent.
The sample meets a twelfth of all (step, write, fault) triples; `make faults` meets all of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from faults.life import LIFE
from faults.proxy import Fault
from faults.sweep import judge, sweep
from faults.world import world
from sizes import IS_FULL

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.controlplane import ControlPlane


def test_every_fault_at_every_write_ends_where_a_life_without_faults_ends(plane: ControlPlane, tmp_path: Path) -> None:
    async def story() -> None:
        async with world(plane, tmp_path) as here:
            found = await sweep(here, LIFE, share=1 if IS_FULL else 1 / 12)
            judge(found, here.crashes)
            assert {fault for _, fault in found.met} == set(Fault)
            assert not IS_FULL or len(found.met) >= 300

    asyncio.run(story())
