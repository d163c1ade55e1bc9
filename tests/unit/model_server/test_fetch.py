"""What fetch leaves behind: a whole model and its digest, or what was there before (https: tests/server)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from model_server.artefact.digest import content_of
from model_server.artefact.record import read_fetch_seconds
from model_server.errors import ModelError, Reason
from model_server.fetch import Options, fetch, fetch_file, parse_uri
from model_server.fetch.source import Claim


def model(path: Path, text: str = "1") -> Path:
    path.mkdir(parents=True)
    (path / "weights").write_text(text)
    return path


def options(root: Path, pin: str | None = None) -> Options:
    return Options(directory=root / "to", pin=pin, ca_file=None, source_mount=root / "mnt", max_bytes=1000)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "to").iterdir())


def test_a_directory_in_the_image_is_linked_not_copied(tmp_path: Path) -> None:
    source = model(tmp_path / "m")
    content = fetch(parse_uri(f"file://{source}"), options(tmp_path))
    assert (tmp_path / "to/current").readlink() == source
    assert (tmp_path / "to/digest").read_text() == content.digest + "\n" == content_of(source).digest + "\n"
    assert left(tmp_path) == ["current", "digest", "fetch-seconds"]


def test_the_server_can_tell_how_long_it_took(tmp_path: Path) -> None:
    fetch(parse_uri(f"file://{model(tmp_path / 'm')}"), options(tmp_path))
    seconds = read_fetch_seconds(tmp_path / "to/digest")
    assert seconds is not None
    assert 0 <= seconds < 60
    assert read_fetch_seconds(None) is None
    (tmp_path / "to/fetch-seconds").write_text("long")
    assert read_fetch_seconds(tmp_path / "to/digest") is None


def test_a_claim_is_read_where_it_is_mounted(tmp_path: Path) -> None:
    model(tmp_path / "mnt/nlp/3")
    fetch(parse_uri("pvc://models/nlp/3"), options(tmp_path))
    assert (tmp_path / "to/current/weights").read_text() == "1"


def test_a_second_fetch_replaces_the_first_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    fetch(parse_uri(f"file://{model(tmp_path / 'a', 'old')}"), options(tmp_path))
    (tmp_path / "to/.staged-of-a-killed-run").mkdir()
    fetch(parse_uri(f"file://{model(tmp_path / 'b', 'new')}"), options(tmp_path))
    assert (tmp_path / "to/current/weights").read_text() == "new"
    assert (tmp_path / "a/weights").read_text() == "old", "the link is replaced, never what it points to"
    assert left(tmp_path) == ["current", "digest", "fetch-seconds"]


def test_another_digest_than_the_pinned_one_is_refused_and_both_are_named(tmp_path: Path) -> None:
    fetch(parse_uri(f"file://{model(tmp_path / 'a', 'old')}"), options(tmp_path))
    other = model(tmp_path / "b", "new")
    pin = "sha256:" + "0" * 64
    with pytest.raises(ModelError) as caught:
        fetch(parse_uri(f"file://{other}"), options(tmp_path, pin))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert pin in caught.value.message
    assert content_of(other).digest in caught.value.message
    assert (tmp_path / "to/current/weights").read_text() == "old"
    assert left(tmp_path) == ["current", "digest", "fetch-seconds"]


def test_one_file_is_read_where_it_is(tmp_path: Path) -> None:
    place = model(tmp_path / "mnt/data") / "weights"
    for source in (parse_uri(f"file://{place}"), parse_uri("pvc://claim/data/weights")):
        assert fetch_file(source, options(tmp_path)) == place
    assert not (tmp_path / "to").exists()
    for uri in (f"file://{place.parent}", f"file://{place}.npz", "pvc://claim/data", "pvc://claim/none"):
        with pytest.raises(ModelError, match=r"There is no file .*; the URI names a file\.") as caught:
            fetch_file(parse_uri(uri), options(tmp_path))
        assert caught.value.reason is Reason.NOT_FOUND


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    for source in (parse_uri(f"file://{tmp_path}/none"), Claim(PurePosixPath("none"))):
        with pytest.raises(ModelError, match=r"There is no directory .*none") as caught:
            fetch(source, options(tmp_path))
        assert caught.value.reason is Reason.NOT_FOUND
    assert left(tmp_path) == []
