"""Pushing to a real S3 server and to a web server: what is there and the same stays, what is another's is not lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from model_server.artefact.digest import content_of
from model_server.errors import ModelError, Reason
from model_server.fetch import Options, fetch, parse_uri
from model_server.fetch.patience import Patience
from model_server.push import Options as PushOptions
from model_server.push import push
from server.s3 import Store, open_store
from server.support import PATIENCE_SECONDS, mlp_directory
from spoiler import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.site import Site

PATIENCE = Patience(silence_seconds=PATIENCE_SECONDS, attempts=3, first_pause_seconds=0.01)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("store")) as store:
        store.put("models", {})
        yield store


@pytest.fixture
def store(running: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The server as who pushes meets it."""
    running.meet(monkeypatch)
    return running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = mlp_directory(tmp_path / "model", 4, 3)
    (directory / "more").mkdir()
    (directory / "more/tokens").write_text("a b")
    return directory


def put(model: Path, uri: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    made = PushOptions(source_mount=model, patience=replace(PATIENCE, what="uploaded"))
    return push(model, uri, replace(made, **changes))


def fetched(root: Path, uri: str, ca_file: Path | None = None) -> str:
    options = Options(directory=root, pin=None, ca_file=ca_file, source_mount=root, max_bytes=10**9, patience=PATIENCE)
    return fetch(parse_uri(uri), options).digest


def puts(store: Store) -> list[str]:
    return [asked.rpartition("/")[2].partition("?")[0] for asked in store.proxy.asked if asked.startswith("PUT")]


def test_what_is_pushed_to_a_bucket_is_fetched_from_it(store: Store, model: Path, tmp_path: Path) -> None:
    told = put(model, "s3://models/whole/1")
    assert told == {
        "uri": "s3://models/whole/1",
        "digest": content_of(model).digest,
        "files": 3,
        "bytes": content_of(model).size_bytes,
        "changed": True,
    }
    assert fetched(tmp_path / "to", "s3://models/whole/1") == told["digest"]
    assert puts(store)[-1] == "model.json", "what is half there is no model"


def test_a_push_that_broke_off_sends_what_is_missing(store: Store, model: Path) -> None:
    put(model, "s3://models/broken/1")
    store.client.delete_object(Bucket="models", Key="broken/1/model.json")
    store.proxy.asked.clear()
    assert put(model, "s3://models/broken/1")["changed"]
    assert puts(store) == ["model.json"]
    assert not put(model, "s3://models/broken/1")["changed"]


@pytest.mark.usefixtures("store")
def test_another_model_is_overwritten_on_request_only_and_then_altogether(model: Path, tmp_path: Path) -> None:
    first = put(model, "s3://models/another/1")
    (model / "more/tokens").unlink()
    (model / "weights.safetensors").write_bytes((model / "weights.safetensors").read_bytes()[::-1])
    with pytest.raises(ModelError, match=r"s3://models/another/1 is taken: more/tokens there is not .*--force"):
        put(model, "s3://models/another/1")
    assert fetched(tmp_path / "before", "s3://models/another/1") == first["digest"]
    second = put(model, "s3://models/another/1", force=True)
    assert fetched(tmp_path / "after", "s3://models/another/1") == second["digest"] == content_of(model).digest


def test_a_store_that_does_not_take_it_is_told_in_a_sentence(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="there is no bucket elsewhere") as caught:
        put(model, "s3://elsewhere/m")
    assert caught.value.reason is Reason.NOT_FOUND
    store.proxy.spoil(Fault("", "503"))
    with pytest.raises(ModelError, match="could not be uploaded in 3 attempts"):
        put(model, "s3://models/down")
    store.proxy.spoil()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ModelError, match="the credentials are not valid") as caught:
        put(model, "s3://models/m")
    assert caught.value.reason is Reason.REFUSED


def test_a_web_server_gets_an_archive(site: Site, model: Path, tmp_path: Path) -> None:
    uri = site.url("/uploads/m.tar.gz")
    told = put(model, uri, ca_file=site.ca_file)
    assert told["changed"]
    assert fetched(tmp_path / "to", uri, site.ca_file) == told["digest"] == content_of(model).digest
    assert not put(model, uri, ca_file=site.ca_file)["changed"]
    (model / "more/tokens").write_text("c")
    with pytest.raises(ModelError, match=r"m\.tar\.gz is taken: it holds other bytes"):
        put(model, uri, ca_file=site.ca_file)
    assert put(model, uri, ca_file=site.ca_file, force=True)["digest"] == content_of(model).digest


def test_a_web_server_may_ask_for_a_token_or_take_nothing(site: Site, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="it takes no uploads"):
        put(model, site.url("/fixed/m.tar.gz"), ca_file=site.ca_file)
    with pytest.raises(ModelError, match=r"let its name end in \.tar\.gz"):
        put(model, site.url("/uploads/m"), ca_file=site.ca_file)
    site.token = "t0ken"  # noqa: S105  # of this test
    with pytest.raises(ModelError, match="is refused: the server answers 401"):
        put(model, site.url("/uploads/t.tar.gz"), ca_file=site.ca_file)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/own").write_text("t0ken\n")
    assert put(model, site.url("/uploads/t.tar.gz"), ca_file=site.ca_file, tokens_dir=tmp_path / "tokens")["changed"]
