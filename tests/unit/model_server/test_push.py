"""A model directory is pushed to another directory, as to a claim that is mounted; other targets have servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from model_server.artefact.digest import content_of
from model_server.errors import ModelError
from model_server.push import Options, push

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model/more").mkdir(parents=True)
    (tmp_path / "model/weights").write_text("1234")
    (tmp_path / "model/more/tokens").write_text("a")
    return tmp_path / "model"


def put(model: Path, uri: str, mount: Path, *, force: bool = False) -> dict[str, Any]:
    return push(model, uri, Options(source_mount=mount, force=force))


def test_a_claim_that_is_mounted_gets_the_files(model: Path, tmp_path: Path) -> None:
    (tmp_path / "claim").mkdir()
    told = put(model, "pvc://models/nlp/3", tmp_path / "claim")
    assert content_of(tmp_path / "claim/nlp/3").digest == told["digest"]
    assert [path.name for path in (tmp_path / "claim/nlp").iterdir()] == ["3"], "nothing is left beside it"
    assert not put(model, "pvc://models/nlp/3", tmp_path / "claim")["changed"]
    with pytest.raises(ModelError, match="The claim is not mounted at"):
        put(model, "pvc://models/nlp/3", tmp_path / "nowhere")


@pytest.mark.parametrize("there", ["another", "a file", "nothing"])
def test_what_is_there_is_overwritten_on_request_only(there: str, model: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if there == "a file":
        place.write_text("mine")
    else:
        place.mkdir()
    if there == "another":
        (place / "weights").write_text("5678")
    with pytest.raises(ModelError, match=r"place is taken: it holds .*; nothing was changed.*--force"):
        put(model, f"file://{place}", tmp_path)
    told = put(model, f"file://{place}", tmp_path, force=True)
    assert content_of(place).digest == told["digest"]


def test_neither_the_hub_nor_a_digest_can_be_pushed_to(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be pushed to"):
        put(model, "hf://org/nlp", tmp_path)
    with pytest.raises(ModelError, match="names a digest, which only content gives"):
        put(model, f"oci://registry/nlp@sha256:{64 * 'a'}", tmp_path)
    with pytest.raises(ModelError, match="is not a directory"):
        put(model / "weights", "s3://models/nlp", tmp_path)
