"""examples/lifecycle runs as it stands: from data to a model that is served, explains itself, and raises an alert."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e import lifecycle
from e2e.modelservices import ModelService
from sizes import only_full

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.installed import Operator
    from e2e.kubectl import Kubectl

pytestmark = [
    pytest.mark.node,
    only_full("minutes"),
]


def test_a_model_lives_from_its_data_to_an_alert_about_other_data(
    kubectl: Kubectl, kubeconfig: Path, operator: Operator, tmp_path: Path
) -> None:
    del operator
    service = ModelService(kubectl, "digits")
    try:
        lifecycle.live(kubectl, kubeconfig, tmp_path / "life")
        pushed = json.loads((tmp_path / "life/pushed.json").read_text().splitlines()[-1])
        (stable,) = service.get()["status"]["revisions"]
        assert stable["model"] == f"{pushed['uri']}@{pushed['digest']}"
        reports = tmp_path / "life/reports"
        for picture in ("training/loss.svg", "evaluation/confusion.svg", "explanation.svg"):
            assert (reports / picture).read_text().lstrip().startswith("<?xml"), picture
    finally:
        service.delete()
