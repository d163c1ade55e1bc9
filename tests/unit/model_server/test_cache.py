"""What is kept between fetches, and what is not (whole fetches: tests/server)."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from model_server.artefact.digest import content_of
from model_server.errors import ModelError, Reason
from model_server.fetch.cache import Cache

if TYPE_CHECKING:
    from pathlib import Path


def left(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.partials.iterdir())


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (ModelError(Reason.UNREACHABLE, ""), True),
        (SystemExit(143), True),
        (ModelError(Reason.DIGEST_MISMATCH, ""), False),
        (ModelError(Reason.NO_SPACE, ""), False),
        (OSError(errno.ENOSPC, ""), False),
    ],
)
def test_what_an_interrupted_download_has_is_kept_where_it_is_of_use(
    error: BaseException, *, stays: bool, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)

    def download() -> None:
        with cache.partial("key") as place:
            (place / "file").write_text("1")
            raise error

    with pytest.raises(type(error)):
        download()
    assert left(cache) == (["key"] if stays else [])
    with cache.partial("key") as place:
        assert (place / "file").exists() == stays
    assert left(cache) == []


def test_downloads_that_nobody_goes_on_with_are_forgotten(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name, age_seconds in (("given-up", 25 * 3600), ("interrupted", 23 * 3600)):
        place = cache.partials / name
        place.mkdir(parents=True)
        then = place.stat().st_mtime - age_seconds
        os.utime(place, (then, then))
    with cache.partial("key"):
        pass
    assert left(cache) == ["interrupted"]


def test_without_locks_each_downloads_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    cache = Cache(tmp_path)
    with cache.partial("key") as one, cache.partial("key") as other:
        assert one != other
        for place in (one, other):
            (place / "model").mkdir()
            (place / "model/weights").write_text("1")
        digest = content_of(one / "model").digest
        cache.keep(one / "model", digest, "key")
        cache.keep(other / "model", digest, "key")
    found = cache.find_listed("key")
    assert found is not None
    assert found.digest == digest
    assert [path for path in cache.partials.iterdir() if path.is_dir()] == []


def test_what_another_digest_has_is_not_found_under_this_one(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    place = cache.place_of("sha256:" + "0" * 64)
    place.mkdir(parents=True)
    (place / "weights").write_text("planted")
    assert cache.find("sha256:" + "0" * 64) is None
    assert not place.exists()
    assert cache.find_listed("unknown") is None
