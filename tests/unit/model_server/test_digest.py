"""The digest can be reproduced with coreutils and covers everything that is loaded."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from model_server.artefact.digest import content_of, parse_digest
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from pathlib import Path


def tree(root: Path) -> Path:
    for name, text in {"b": "2", "a-b": "1", "a/z": "zz", "a/b/c": "", "a.b": "3", "Z": "big", "é": "accent"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_the_digest_is_what_coreutils_print(tmp_path: Path) -> None:
    printed = subprocess.run(
        ["sh", "-c", "find . -type f | LC_ALL=C sort | xargs sha256sum"],
        cwd=tree(tmp_path),
        check=True,
        capture_output=True,
    ).stdout
    content = content_of(tmp_path)
    assert content.digest == "sha256:" + hashlib.sha256(printed).hexdigest()
    assert (content.files, content.size_bytes) == (7, 14)


def test_the_digest_covers_names_as_well_as_bytes(tmp_path: Path) -> None:
    before = content_of(tree(tmp_path)).digest
    (tmp_path / "b").rename(tmp_path / "c")
    assert content_of(tmp_path).digest != before


def test_a_link_is_refused_because_no_digest_would_cover_it(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(ModelError, match="is a link"):
        content_of(tmp_path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tree(tmp_path) / "pipe")
    with pytest.raises(ModelError, match="neither a file nor a directory"):
        content_of(tmp_path)


def test_a_name_that_xargs_would_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two words").touch()
    with pytest.raises(ModelError, match="'two words' has blanks"):
        content_of(tmp_path)


def test_an_empty_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no files"):
        content_of(tmp_path)


@pytest.mark.parametrize("text", ["", "abc", "sha256:", "sha256:" + "A" * 64, "md5:" + "a" * 64, "sha256:" + "a" * 65])
def test_a_malformed_digest_is_told_how_to_be_written(text: str) -> None:
    with pytest.raises(ModelError, match="64 lower-case hexadecimal digits") as caught:
        parse_digest(text)
    assert caught.value.reason is Reason.INVALID
