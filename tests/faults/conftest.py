"""A control plane with real controllers for the stories of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("faults") / "cluster", controllers=True) as plane:
        install_crd(plane)
        yield plane
