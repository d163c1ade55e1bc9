"""How others read the health of a ModelService: Flux and Helm by the kstatus library, Argo CD by a script of ours.

Both judge every row of the table of conditions, as the operator writes it. The same on a live object: test_gitops.py.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cluster import binaries
from unit.operator.makers import Body, service
from unit.operator.situations import SETTLED, TABLE, Row, told

if TYPE_CHECKING:
    from modelservice_operator.observe import Seen

SETTINGS = Path(__file__).parents[2] / "examples/gitops/argocd/health.yaml"
ARGO = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded"}


def judged(program: str, *arguments: str | Path, body: Body) -> dict[str, str]:
    """Return the verdict of a program that reads an object on stdin."""
    command = [binaries.path(program), *arguments]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verdict: dict[str, str] = json.loads(done.stdout)
    return verdict


def kstatus(body: Body) -> str:
    return judged("kstatus", body=body)["status"]


def argo(body: Body, directory: Path) -> dict[str, str]:
    """Return what Argo CD says, with the script that its users put into its settings."""
    script = directory / "health.lua"
    script.write_text(
        yaml.safe_load(SETTINGS.read_text())["data"]["resource.customizations.health.modelservice.dev_ModelService"]
    )
    return judged("argo-health", script, body=body)


def body_of(seen: Seen) -> Body:
    return seen.service | {"status": told(seen)}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_every_situation_has_the_health_that_the_docs_tell(row: Row, tmp_path: Path) -> None:
    body = body_of(row.seen)
    assert kstatus(body) == row.kstatus
    found = argo(body, tmp_path)
    assert found["status"] == ("Suspended" if row.ready[1] == "Paused" else ARGO[row.kstatus])
    ready = next(each for each in body["status"]["conditions"] if each["type"] == "Ready")
    assert ready["message"] in found["message"]


@pytest.mark.parametrize(
    "status",
    [{"observedGeneration": -1}, told(SETTLED) | {"observedGeneration": 2}],
    ids=["never seen", "an older spec was seen"],
)
def test_what_the_operator_has_not_seen_is_in_progress(status: dict[str, Any], tmp_path: Path) -> None:
    body = service(status=status)
    assert kstatus(body) == "InProgress"
    assert argo(body, tmp_path)["status"] == "Progressing"


def test_what_goes_is_terminating() -> None:
    """Argo CD asks no script about it."""
    body = body_of(SETTLED)
    going = body | {"metadata": body["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert kstatus(going) == "Terminating"
