"""A control plane with real controllers for the stories of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.controlplane import ControlPlane
from controlplane.conftest import install_crd

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN_NODES = "--enable-admission-plugins=PodNodeSelector"  # a namespace may say on which nodes its pods run


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("faults") / "cluster"
    with ControlPlane(directory, controllers=True, api_flags=(_OWN_NODES,)) as plane:
        install_crd(plane)
        yield plane
