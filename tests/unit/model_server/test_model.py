"""A model directory is loaded only when everything about it agrees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from model_server.artefact.digest import content_of
from model_server.errors import ModelError, Reason
from model_server.model import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def weights() -> dict[str, torch.Tensor]:
    """Two layers: each sum of four inputs, then its triple."""
    return {
        "0.weight": torch.ones(2, 4),
        "0.bias": torch.zeros(2),
        "2.weight": 3 * torch.eye(2),
        "2.bias": torch.zeros(2),
    }


def make(
    path: Path, *, tensors: dict[str, torch.Tensor] | None = None, golden: dict[str, Any] | None = None, **card: object
) -> Path:
    path.mkdir(exist_ok=True)
    made = {
        "format": "safetensors",
        "architecture": "mlp",
        "parameters": {"layers": [4, 2, 2]},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    (path / "model.json").write_text(json.dumps({**made, **card}))
    save_file(weights() if tensors is None else tensors, path / "weights.safetensors")
    if golden is not None:
        np.savez(path / "golden.npz", **golden)
    return path


ONES = np.ones((1, 4), dtype=np.float32)
GOLDEN = {"inputs.x": ONES, "outputs.y": np.full((1, 2), 12, dtype=np.float32)}


def refusal(directory: Path, digest_file: Path | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(directory, digest_file)
    return caught.value


def test_a_loaded_model_computes(tmp_path: Path) -> None:
    model = load(make(tmp_path, golden=GOLDEN))
    model.prove()
    (answer,) = model.forward((np.array([[1, 2, 3, 4], [-1, -1, -1, -1]], dtype=np.float32),))
    assert answer.tolist() == [[30, 30], [0, 0]]
    assert model.digest.startswith(f"sha256:{model.version}")


def test_arrays_that_lie_unaligned_in_a_request_compute_as_well(tmp_path: Path) -> None:
    body = memoryview(b"?" + ONES.tobytes())[1:]
    (answer,) = load(make(tmp_path)).forward((np.frombuffer(body, "<f4").reshape(1, 4),))
    assert answer.tolist() == [[12, 12]]


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64", "FP16", "FP64"])
def test_an_mlp_takes_any_datatype(datatype: str, tmp_path: Path) -> None:
    model = load(make(tmp_path, inputs=[{"name": "x", "datatype": datatype, "shape": [-1, 4]}]))
    (answer,) = model.forward((ONES.astype(model.signature.inputs[0].datatype.dtype),))
    assert answer.tolist() == [[12, 12]]


@pytest.mark.parametrize(("datatype", "dtype"), [("FP16", "<f2"), ("FP64", "<f8")])
def test_outputs_have_the_datatype_of_the_card(datatype: str, dtype: str, tmp_path: Path) -> None:
    (answer,) = load(make(tmp_path, outputs=[{"name": "y", "datatype": datatype, "shape": [-1, 2]}])).forward((ONES,))
    assert answer.dtype == np.dtype(dtype)


def test_weights_in_half_precision_are_widened(tmp_path: Path) -> None:
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in weights().items()}
    assert load(make(tmp_path, tensors=halves)).forward((ONES,))[0].tolist() == [[12, 12]]


def test_the_digest_file_must_name_the_content(tmp_path: Path) -> None:
    directory = make(tmp_path / "m")
    digest_file = tmp_path / "digest"
    digest_file.write_text(content_of(directory).digest + "\n")
    assert load(directory, digest_file).digest == digest_file.read_text().strip()
    (directory / "model.json").write_text((directory / "model.json").read_text() + " ")
    error = refusal(directory, digest_file)
    assert error.reason is Reason.DIGEST_MISMATCH
    assert content_of(directory).digest in error.message
    assert digest_file.read_text().strip() in error.message
    digest_file.write_text("sha256:short")
    assert "malformed" in refusal(directory, digest_file).message
    digest_file.unlink()
    assert "cannot be read" in refusal(directory, digest_file).message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "resnet"}, "architecture 'resnet'; this server knows mlp"),
        ({"parameters": {}}, "missing required field `layers`"),
        ({"parameters": {"layers": [4]}}, "length >= 2"),
        ({"parameters": {"layers": [4, 0, 2]}}, ">= 1"),
        ({"parameters": {"layers": [4, 2, 2], "activation": "exec"}}, "Invalid enum value 'exec'"),
        ({"parameters": {"layers": [4, 2, 2], "code": "1"}}, "unknown field `code`"),
        ({"parameters": {"layers": [5, 2, 2]}}, r"this mlp has one input of the shape \[-1, 5\]"),
        ({"parameters": {"layers": [4, 2, 3]}}, r"one output of the shape \[-1, 3\]"),
        ({"outputs": [{"name": "y", "datatype": "INT8", "shape": [-1, 2]}]}, "an output of FP16, FP32 or FP64"),
        ({"parameters": {"layers": [4, 9, 2]}}, r"0.bias has the shape \[2\] where \[9\] is needed \(3 differ\)"),
        ({"parameters": {"layers": [4, 2, 2, 2]}}, r"4.bias has the shape none where \[2\] is needed"),
        ({"tensors": {**weights(), "hook": torch.ones(1)}}, r"hook has the shape \[1\] where none is needed"),
        ({"tensors": {name: t.to(torch.int32) for name, t in weights().items()}}, "weights are floating-point"),
        (
            {"golden": {"inputs.x": ONES, "outputs.y": np.full((1, 2), 12.1, "<f4")}},
            "golden outputs: y is off by up to 0.1",
        ),
        ({"golden": {"inputs.x": ONES}}, "outputs.y is not a file|lacks an array"),
        ({"golden": {**GOLDEN, "inputs.x": ONES[:, :3]}}, "unlike model.json's input"),
        ({"golden": {**GOLDEN, "inputs.x": ONES.astype("<f8")}}, "unlike model.json's input"),
        ({"golden": {**GOLDEN, "outputs.y": np.ones((2, 2), "<f4")}}, r"the model gives \[1, 2\]"),
        ({"golden": {**GOLDEN, "inputs.x": np.array([print], dtype=object)}}, "Object arrays cannot be loaded"),
    ],
)
def test_an_artefact_that_contradicts_itself_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    error = refusal(make(tmp_path, **change))
    pytest.raises(ModelError, match=said).matches(error)
    assert error.reason is Reason.INVALID


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda path: (path / "weights.safetensors").write_bytes(b"junk" * 99), "is not a safetensors file"),
        (lambda path: torch.save(weights(), path / "weights.safetensors"), "is not a safetensors file"),
        (lambda path: (path / "golden.npz").write_bytes(b"junk"), "golden.npz cannot be read"),
    ],
)
def test_a_damaged_artefact_is_refused(damage: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    damage(make(tmp_path))
    assert said in refusal(tmp_path).message


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").reason is Reason.NOT_FOUND
