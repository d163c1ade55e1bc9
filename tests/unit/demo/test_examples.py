"""The examples agree with each other; that they run is what the demo and tests/e2e show."""

from pathlib import Path
from typing import Any

import pytest
import yaml

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
