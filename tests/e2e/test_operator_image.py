"""The operator's image: small, without torch, and at home where nobody is root."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.installed import EXAMPLES, RELEASE, ROOT, SYSTEM

if TYPE_CHECKING:
    from e2e.installed import Operator
    from e2e.kubectl import Kubectl

ARCHIVE = ROOT / ".images/operator.tar"
MOST_MEBIBYTES = 220  # of the archive, which is not compressed; `make images` prints what it has
USER = "10001:10001"

# Asked inside of the container: who it is, and where it may write.
QUESTION = """
import os
print(os.getuid(), os.getgid(), sep=":")
for folder in ("/", "/app", "/usr", "/etc/modelservice", "/tmp"):
    try:
        open(os.path.join(folder, "written"), "w").close()
    except OSError as error:
        print(folder, error.strerror)
"""


def test_the_image_is_small_holds_no_torch_and_names_its_user(kubectl: Kubectl) -> None:
    del kubectl  # the cluster, for which the image was built
    if not ARCHIVE.exists():
        pytest.skip("The cluster was given, with its images.")
    assert ARCHIVE.stat().st_size < MOST_MEBIBYTES << 20
    with tarfile.open(ARCHIVE) as archive:

        def read(name: str) -> bytes:
            found = archive.extractfile(name)
            assert found is not None, name
            return found.read()

        [image] = json.loads(read("manifest.json"))
        assert json.loads(read(image["Config"]))["config"]["User"] == USER
        names = set()
        for layer in image["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                names |= {part for member in files for part in member.name.split("/")}
    assert "modelservice_operator" in names
    assert names.isdisjoint({"torch", "numpy", "model_server"})


def test_the_operator_runs_as_nobody_and_can_write_nothing_but_tmp(operator: Operator, kubectl: Kubectl) -> None:
    operator.until_ready()
    told = kubectl("exec", f"deployment/{RELEASE}", f"--namespace={SYSTEM}", "--", "python3", "-c", QUESTION)
    read_only = [f"{folder} Read-only file system" for folder in ("/", "/app", "/usr", "/etc/modelservice")]
    assert told.splitlines() == [USER, *read_only]


def test_people_may_ask_its_program_in_a_pod_as_the_documentation_says(operator: Operator, kubectl: Kubectl) -> None:
    operator.until_ready()
    ask = ("exec", "--stdin", f"deployment/{RELEASE}", f"--namespace={SYSTEM}", "--", "modelservice-operator")
    assert "who renews it" in kubectl(*ask, "doctor")
    rendered = kubectl(*ask, "render", "-f", "-", given=(EXAMPLES / "nlp-model.yaml").read_text())
    assert {"Deployment", "Service", "NetworkPolicy"} <= {each["kind"] for each in yaml.safe_load_all(rendered)}
