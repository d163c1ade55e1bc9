"""What fits where a pod of another revision was."""

from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator.rollout.room import fits_in_place

Body = dict[str, Any]


def pod(limits: Body, **more: Any) -> Body:  # noqa: ANN401 - any field of a pod's spec
    return {"spec": {"containers": [{"name": "server", "resources": {"limits": limits}}], **more}}


ONE_GPU = pod({"nvidia.com/gpu": "1", "memory": "4Gi"})


@pytest.mark.parametrize(
    ("new", "fits"),
    [
        (ONE_GPU, True),
        (pod({"memory": "4096Mi"}), True),
        (pod({}), True),
        (pod({"nvidia.com/gpu": 2}), False),
        (pod({"memory": "5Gi"}), False),
        (pod({"amd.com/gpu": "1"}), False),
        (pod({"nvidia.com/gpu": "1"}, nodeSelector={"gpu": "h100"}), False),
        (pod({"memory": "a lot"}), False),
    ],
)
def test_who_asks_for_no_more_of_the_same_nodes_fits(new: Body, fits: bool) -> None:
    assert fits_in_place(new, ONE_GPU) is fits
