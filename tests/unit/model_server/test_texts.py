"""Texts behind a tokenizer: what a converted encoder answers, in which passes, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models

import small_bert
from model_server.artefact.card import CARD
from model_server.convert import convert
from model_server.errors import ModelError, RequestError
from model_server.model import load
from model_server.precision import Precision
from model_server.texts import PASS_TOKENS, passes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = ("Copper fell on Tuesday.", "", "a b " * 12, "é", "nobody knows", "Coppers rose? " * 20, "b", "a. b. a")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bert.write(tmp_path_factory.mktemp("hub") / "bert")


@pytest.fixture
def converted(source: Path, tmp_path: Path) -> Path:
    convert(source, tmp_path / "model")
    return tmp_path / "model"


def texts(*given: str) -> tuple[np.ndarray[Any, Any]]:
    return (np.array(given, dtype=object),)


def close(answer: np.ndarray[Any, Any], *expected: str) -> None:
    right = torch.stack([small_bert.embedding(text) for text in expected])
    torch.testing.assert_close(torch.from_numpy(answer), right, rtol=1e-4, atol=1e-5)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_converted_encoder_computes_what_a_bert_does(converted: Path) -> None:
    model = load(converted, precision=Precision.FLOAT32)
    (answer,) = model.forward(texts(*TEXTS))
    close(answer, *TEXTS)
    (answer,) = model.forward(texts("é"))
    close(answer, "é")


def test_it_proves_itself_by_texts(converted: Path) -> None:
    with np.load(converted / "golden.npz") as arrays:
        golden = dict(arrays)
    assert golden["inputs.text"].dtype.kind == "U"
    np.savez(converted / "golden.npz", **{**golden, "outputs.embedding": -golden["outputs.embedding"]})
    with pytest.raises(ModelError, match="does not give its golden outputs: embedding is off"):
        load(converted)


def test_without_golden_texts_it_reads_a_made_up_one(converted: Path) -> None:
    (converted / "golden.npz").unlink()
    load(converted)


@given(st.lists(st.integers(1, 256), min_size=1, max_size=64))
def test_passes_hold_every_row_once_and_little_padding(lengths: list[int]) -> None:
    found = passes(lengths)
    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    for rows in found:
        assert sum(lengths[rows[0]] - lengths[row] for row in rows) <= PASS_TOKENS


def test_texts_of_one_length_are_one_pass() -> None:
    assert len(passes([7] * 64)) == 1


def test_a_text_without_tokens_is_its_senders_fault(converted: Path) -> None:
    Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).save(str(converted / "tokenizer.json"))  # noqa: S106
    (converted / "golden.npz").unlink()
    with pytest.raises(RequestError, match=r"Text 1 of the request has no tokens"):
        load(converted).forward(texts("a", ""))


INPUT = {"name": "text", "datatype": "BYTES", "shape": [-1]}
PARAMETERS = {"width": 16, "depth": 2, "heads": 4, "feedforward": 32, "vocabulary": 15, "embedding_norm": True}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokenizer": None}, r"BYTES \(texts\) and a tokenizer need each other"),
        ({"inputs": [{**INPUT, "datatype": "INT64"}]}, "need each other"),
        ({"inputs": [INPUT, {**INPUT, "name": "more"}]}, r"has one input, of the shape \[-1\]"),
        ({"inputs": [{**INPUT, "shape": [-1, 1]}]}, r"has one input, of the shape \[-1\]"),
        ({"outputs": [{**INPUT, "name": "y"}]}, "outputs 'y' has the datatype 'BYTES'"),
        ({"format": "pt2", "architecture": "", "parameters": {}}, "a tokenizer goes with the format safetensors"),
        ({"tokenizer": {"file": "../tokenizer.json", "max_length": 8}}, "not a model card"),
        ({"tokenizer": {"file": "none.json", "max_length": 8}}, r"none\.json is missing; model\.json names it"),
        ({"tokenizer": {"file": "model.json", "max_length": 8}}, r"model\.json is not a tokenizer"),
        ({"tokenizer": {"max_length": 41}}, "40 positions, so the length of its inputs is a number up to that"),
        ({"architecture": "mlp", "parameters": {"layers": [4, 2]}}, "one input of the shape"),
        ({"parameters": {**PARAMETERS, "mask": False}}, "a tokenizer, so it needs a vocabulary, mask: true"),
        ({"parameters": {**PARAMETERS, "mask": True, "pool": "none"}}, "and one answer per text"),
    ],
)
def test_what_does_not_fit_a_tokenizer_is_refused(changes: dict[str, object], said: str, converted: Path) -> None:
    edit(converted / CARD, **changes)
    with pytest.raises(ModelError, match=said):
        load(converted)


def edit_pooling(path: Path) -> None:
    edit(path / "1_Pooling" / "config.json", pooling_mode_max_tokens=True)


def add_dense(path: Path) -> None:
    steps = json.loads((path / "modules.json").read_text())
    (path / "modules.json").write_text(json.dumps([*steps, {"path": "3", "type": "models.Dense"}]))


def lose_a_weight(path: Path) -> None:
    weights = load_file(path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, path / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: edit(path / "config.json", model_type="gpt2"), "does not describe a BERT that can be converted"),
        (lambda path: edit(path / "config.json", hidden_act="silu"), "does not describe a BERT that can be converted"),
        (lambda path: (path / "config.json").unlink(), r"config\.json is missing"),
        (lambda path: (path / "tokenizer.json").unlink(), r"tokenizer\.json is missing"),
        (lambda path: (path / "model.safetensors").write_bytes(b"no"), "is not a safetensors file"),
        (edit_pooling, "pools in a way that cannot be converted"),
        (add_dense, "has the steps Transformer, Pooling, Normalize, Dense"),
        (lose_a_weight, r"lacks encoder\.layer\.1\.output\.dense\.bias"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_leaves_nothing(
    spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    source = small_bert.write(tmp_path / "bert")
    spoil(source)
    with pytest.raises(ModelError, match=said):
        convert(source, tmp_path / "out" / "model")
    assert list((tmp_path / "out").glob("*")) == []


def test_the_first_token_may_stand_for_the_text(tmp_path: Path) -> None:
    source = small_bert.write(tmp_path / "bert")
    edit(source / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    convert(source, tmp_path / "model")
    assert json.loads((tmp_path / "model" / CARD).read_text())["parameters"]["pool"] == "first"


def test_a_plain_bert_is_not_normalised(tmp_path: Path) -> None:
    source = small_bert.write(tmp_path / "bert")
    (source / "modules.json").unlink()
    (source / "sentence_bert_config.json").unlink()
    convert(source, tmp_path / "model")
    card = json.loads((tmp_path / "model" / CARD).read_text())
    assert (card["parameters"]["normalize"], card["tokenizer"]["max_length"]) == (False, small_bert.POSITIONS)
