"""model.json says all that it may say, and nothing else."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from model_server.artefact.card import read_card, write_card
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CARD: dict[str, Any] = {
    "format": "safetensors",
    "architecture": "mlp",
    "parameters": {"layers": [4, 2]},
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(CARD))
    card = read_card(tmp_path)
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card
    assert json.loads((tmp_path / "model.json").read_text()) == CARD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: card.update(code="import os"), "unknown field `code`"),
        (lambda card: card["inputs"][0].update(colour="red"), r"unknown field `colour` - at `\$.inputs\[0\]`"),
        (lambda card: card.update(format="pickle"), "Invalid enum value 'pickle'"),
        (lambda card: card.pop("architecture"), "the format safetensors needs an architecture"),
        (lambda card: card.update(format="pt2"), "architecture and parameters are for the format safetensors"),
        (lambda card: card.pop("inputs"), "missing required field `inputs`"),
        (lambda card: card.update(inputs=[]), "inputs is empty"),
        (lambda card: card["outputs"].append(card["outputs"][0]), "outputs names 'y' twice"),
        (lambda card: card["inputs"][0].update(datatype="STRING"), "datatype 'STRING'; this server knows BOOL, INT8"),
        (lambda card: card["inputs"][0].update(shape=[1, 4]), "its first dimension must be -1"),
        (lambda card: card["inputs"][0].update(shape=[-1, 0]), "sizes are positive"),
    ],
)
def test_a_wrong_card_is_refused_with_the_place_of_the_fault(
    change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path
) -> None:
    card = copy.deepcopy(CARD)
    change(card)
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=said) as caught:
        read_card(tmp_path)
    assert caught.value.reason is Reason.INVALID


def test_a_directory_without_a_card_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"model.json is missing: a model directory holds model.json and what it names"
    ):
        read_card(tmp_path)
