"""What an evaluation is asked to measure."""

from __future__ import annotations

import pytest

from modelservice_operator.observe import observe, read
from modelservice_operator.render.evaluation import evaluation_job
from unit.operator.makers import CONFIG, Body, children, service

EVALUATION = {"dataset": {"uri": "pvc://models/x.npz"}, "metrics": [{"name": "f1", "min": "0.9"}]}


@pytest.mark.parametrize(
    ("autoscaling", "metrics"),
    [
        (None, "f1"),
        ({"maxReplicas": 3}, "f1,saturation_concurrency"),
        ({"maxReplicas": 3, "inflightPerReplica": 5}, "f1"),
    ],
)
def test_saturation_is_measured_for_an_autoscaler_that_was_given_no_target(
    autoscaling: Body | None, metrics: str
) -> None:
    seen = observe(read(service(evaluation=EVALUATION, autoscaling=autoscaling)), children(), CONFIG)
    assert seen.spec is not None
    assert seen.desired is not None
    job = evaluation_job("ml", "m", seen.spec, seen.desired, CONFIG)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert f"--metrics={metrics}" in container["args"]
