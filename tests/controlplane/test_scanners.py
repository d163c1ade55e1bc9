"""What scanners say of what the chart and the operator make: nothing, but for what scanners.yaml gives a reason for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from cluster import binaries
from controlplane.chart import ROOT
from controlplane.rendered import of_models, of_the_chart
from sizes import IS_FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    Findings = dict[str, set[str]]  # a check, and the kinds that it finds fault with: `chart/Deployment`

REASONS = Path(__file__).with_name("scanners.yaml")
CHECKOV = ROOT / ".venv/checkov/bin/checkov"


def kube_score(folder: Path) -> Findings:
    command = [binaries.path("kube-score"), "score", "--output-format=json", "--kubernetes-version=v1.35"]
    done = subprocess.run([*command, *folder.iterdir()], capture_output=True, text=True, check=False)
    found: Findings = {}
    for scored in json.loads(done.stdout):
        kind = f"{Path(scored['file_name']).stem}/{scored['type_meta']['kind']}"
        for each in scored["checks"]:
            if not each["skipped"] and each["grade"] < 10:
                found.setdefault(each["check"]["id"], set()).add(kind)
    return found


def checkov(folder: Path) -> Findings:
    command = [CHECKOV, "--framework=kubernetes", f"--directory={folder}", "--output=json", "--soft-fail", "--quiet"]
    done = subprocess.run([*command, "--skip-download"], capture_output=True, text=True, check=True)
    found: Findings = {}
    for each in json.loads(done.stdout)["results"]["failed_checks"]:
        kind = f"{Path(each['file_path']).stem}/{each['resource'].partition('.')[0]}"
        found.setdefault(each["check_id"], set()).add(kind)
    return found


@pytest.mark.parametrize(
    "scanner", [kube_score, pytest.param(checkov, marks=pytest.mark.skipif(not IS_FULL, reason="make test-full"))]
)
def test_a_scanner_finds_nothing_that_has_no_reason(scanner: Callable[[Path], Findings], tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    for origin, objects in (("chart", of_the_chart(tmp_path)), ("model", of_models(tmp_path))):
        (folder / f"{origin}.yaml").write_text(yaml.safe_dump_all(objects))
    reasons = yaml.safe_load(REASONS.read_text())[scanner.__name__]
    assert scanner(folder) == {check: set(kinds) for check, kinds in reasons.items()}


def test_every_exception_has_a_reason() -> None:
    for checks in yaml.safe_load(REASONS.read_text()).values():
        for check, reasons in checks.items():
            assert all(reason.endswith(".") for reason in reasons.values()), check
