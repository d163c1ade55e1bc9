"""What a store lists may become a model directory, or is refused before any of it is downloaded."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

import pytest

from model_server.errors import ModelError
from model_server.fetch.origin import Checksum, File, Listing, require_fit

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"weights"


def listing(*names: str, size: int = 1) -> Listing:
    return Listing(tuple(File(name, size, "1") for name in names), is_directory=True)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a/../../b",), "no path of a file"),
        (("a//b",), "no path of a file"),
        (("/a",), "no path of a file"),
        (("./a",), "no path of a file"),
        (("a", "a/b"), "both 'a' and 'a/b'"),
        (("a b",), "has blanks, quotes or backslashes"),
        (tuple(map(str, range(10_001))), "more than 10000 files"),
        (("a", "b", "c"), "holds 3 bytes, more than the 2 that --max-bytes allows"),
    ],
)
def test_names_and_sizes_that_make_no_directory_are_refused(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        require_fit(listing(*names), "s3://models/nlp", 2 if len(names) == 3 else 100_000)


def test_a_listing_is_known_by_all_that_its_store_tells() -> None:
    one = listing("a", "b")
    assert one.key("s3://x") == listing("a", "b").key("s3://x")
    others = [listing("a", "c"), listing("a", "b", size=2), Listing((File("a", 1, "1"), File("b", 1, "2")), True)]
    assert len({one.key("s3://x"), one.key("s3://y"), *(other.key("s3://x") for other in others)}) == 5


@pytest.mark.parametrize(
    "checksum",
    [
        Checksum("sha256", hashlib.sha256(CONTENT).hexdigest()),
        Checksum("md5", hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()),
        Checksum("crc32", f"{zlib.crc32(CONTENT):08x}"),
        Checksum("git", hashlib.sha1(b"blob 7\0" + CONTENT, usedforsecurity=False).hexdigest()),
    ],
    ids=lambda checksum: checksum.algorithm,
)
def test_a_checksum_tells_a_changed_file(checksum: Checksum, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(CONTENT)
    (tmp_path / "other").write_bytes(b"Weights")
    assert checksum.holds(tmp_path / "same")
    assert not checksum.holds(tmp_path / "other")
