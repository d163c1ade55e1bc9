"""nlp-model goes over to a model of texts: MiniLM as it is published, with its tokenizer. BYTES in, vectors out."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

import published
from e2e import client as clients
from e2e.installed import EXAMPLES, ROOT
from environments import python_of
from model_server.convert import convert
from sizes import only_full

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.client import Client
    from e2e.kubectl import Kubectl
    from e2e.modelservices import ModelService

pytestmark = [pytest.mark.node, only_full("minutes")]

TEXTS = ["Copper fell for a third day.", "The price of copper is down.", "é rose on Tuesday", ""]
_UNPACK = (
    "import base64, io, sys, tarfile; packed = io.BytesIO(base64.b64decode(sys.stdin.read())); "
    f"tarfile.open(fileobj=packed).extractall({clients.MODELS!r}, filter='data')"
)


@pytest.fixture(scope="module")
def source() -> Path:
    return published.minilm()


@pytest.fixture
def minilm(source: Path, client: Client, tmp_path: Path) -> str:
    convert(source, tmp_path / "minilm")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(tmp_path / "minilm", "minilm")
    client.run("python3", "-c", _UNPACK, given=base64.b64encode(packed.getvalue()).decode())
    return "pvc://models/minilm"


@pytest.fixture
def of_texts(kubectl: Kubectl, nlp_model: ModelService, minilm: str) -> Iterator[ModelService]:
    manifest = yaml.safe_load((EXAMPLES / "nlp-model.yaml").read_text())
    manifest["spec"] |= {"model": {"name": "nlp-model", "uri": minilm}, "precision": "Float32"}
    kubectl.apply(manifest)
    nlp_model.until_ready(3)
    yield nlp_model
    kubectl("apply", f"--filename={EXAMPLES / 'nlp-model.yaml'}")
    nlp_model.until_ready(3)


def test_texts_become_the_vectors_of_the_library_that_the_model_comes_from(
    of_texts: ModelService, source: Path, client: Client
) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
    url = f"{of_texts.get()['status']['url']}/v2/models/nlp-model/infer"
    (output,) = client.post(url, json.dumps({"inputs": [tensor]}))["outputs"]
    found = np.reshape(output["data"], output["shape"])
    peer = [python_of(published.LIBRARY), ROOT / "bench/optimize/peer.py", source, ""]
    asked = json.dumps({"what": "encode", "texts": TEXTS})
    right = json.loads(subprocess.run(peer, input=asked, stdout=subprocess.PIPE, text=True, check=True).stdout)
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-4)
    assert found[0] @ found[1] > 2 * found[0] @ found[2]
