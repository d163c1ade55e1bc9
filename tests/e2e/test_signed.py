"""Models that a key of the administrator's has to vouch for: one is served; what was done to the others is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e import client as clients
from e2e.installed import key_pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.client import Client
    from e2e.conftest import Model
    from e2e.installed import Operator
    from e2e.modelservices import ModelService

pytestmark = pytest.mark.node

# Signs a model with two keys, and harms what one of them has signed.
_SIGN = f"""
import json, pathlib, shutil, sys, tempfile
from model_server.artefact.signature import sign
models = pathlib.Path("{clients.MODELS}")
def copy(origin, name):
    return pathlib.Path(shutil.copytree(models / origin, models / name))
for name, key in json.load(sys.stdin).items():
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(key)
        file.flush()
        sign(copy("nlp-model", name), pathlib.Path(file.name))
tampered, truncated, forged = (copy("signed", name) for name in ("tampered", "truncated", "forged"))
weights = (tampered / "weights.safetensors").read_bytes()
(tampered / "weights.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
(truncated / "golden.npz").unlink()
(truncated / "weights.safetensors").write_bytes(weights[:-64])
signature = json.loads((forged / "model.sig").read_text())
others = json.loads((models / "strange" / "model.sig").read_text())
signature["dsseEnvelope"]["signatures"] = others["dsseEnvelope"]["signatures"]
(forged / "model.sig").write_text(json.dumps(signature))
"""
_NOT_AS_SIGNED = "The model was signed with team-a, but is not what was signed:"
REFUSED = {
    "tampered": f"{_NOT_AS_SIGNED} weights.safetensors has changed.",
    "truncated": f"{_NOT_AS_SIGNED} golden.npz is missing; weights.safetensors is cut off.",
    "forged": "The signature of the model, model.sig, is wrong (team-a: ",
    "strange": "The model is signed with a key that is not trusted; trusted are: team-a.",
    "nlp-model": "The model is not signed: it lacks model.sig",
}


def test_what_a_trusted_key_has_signed_is_served_and_what_was_changed_since_is_not(
    services: Callable[[str], ModelService], operator: Operator, perceptron: Model, client: Client, tmp_path: Path
) -> None:
    keys = {"signed": operator.signer, "strange": key_pair(tmp_path / "stranger.pem")}
    client.run("python3", "-c", _SIGN, given=json.dumps({name: key.read_text() for name, key in keys.items()}))
    asked = {name: services(f"trust-{name}") for name in ("signed", *REFUSED)}
    for name, service in asked.items():
        service.apply(model={"uri": f"pvc://models/{name}", "trust": "Signed"})
    for name, sentence in REFUSED.items():
        assert sentence in asked[name].until("Ready", "False", "NotTrusted")["message"]
    asked["signed"].until_ready(1)
    answer = client.infer("trust-signed", perceptron.inputs)[0]
    assert answer == pytest.approx(perceptron.outputs[0], abs=1e-5)
    for name in REFUSED:
        assert asked[name].condition("Available")["status"] == "False"
