"""The examples agree with each other; that they run is what the demo and tests/e2e show."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelservice_operator.api import parse

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return found


@pytest.mark.parametrize("model", ["digits", "nlp-model"])
def test_a_job_writes_where_its_modelservice_looks(model: str) -> None:
    service, job, claim = read(f"{model}.yaml"), read(f"{model}/train.yaml"), read("models-claim.yaml")
    pod = job["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    claims = {volume["name"]: volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["volumes"]}
    (out,) = (word.removeprefix("--out=") for word in pod["containers"][0]["args"] if word.startswith("--out="))
    assert claims["models"] == claim["metadata"]["name"]
    assert service["spec"]["model"]["uri"] == out.replace(mounts["models"], f"pvc://{claims['models']}")


def test_what_is_trained_anew_is_judged_by_rows_that_lie_where_its_modelservice_looks() -> None:
    """The commands are those of the README."""
    [(old, new)] = re.findall(r"s\|(/models/digits)\|(\S+)\|", (EXAMPLES / "README.md").read_text())
    service, before, copy = read("digits-evaluated.yaml"), read("digits.yaml"), read("digits/held-out.yaml")
    assert service["metadata"] == before["metadata"]
    assert (EXAMPLES / "digits/train.yaml").read_text().count(old) == 1
    [container] = copy["spec"]["template"]["spec"]["containers"]
    assert "/models/digits-held-out.npz" in container["command"][-1]
    spec = parse(service)
    assert spec.model.uri == f"pvc:/{new}"
    assert spec.evaluation is not None
    assert spec.evaluation.dataset.uri == "pvc://models/digits-held-out.npz"
