from pathlib import Path

import pytest

from images.fingerprint import digest_of, digest_of_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("answer = 42\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def test_an_edit_a_new_name_and_an_executable_bit_change_the_digest(folder: Path) -> None:
    seen = {digest_of_folder(folder)}
    (folder / "package" / "module.py").write_text("answer = 43\n")
    seen.add(digest_of_folder(folder))
    (folder / "package" / "module.py").rename(folder / "package" / "other.py")
    seen.add(digest_of_folder(folder))
    (folder / "package" / "other.py").chmod(0o755)
    seen.add(digest_of_folder(folder))
    assert len(seen) == 4


def test_what_python_and_linters_leave_behind_does_not(folder: Path) -> None:
    before = digest_of_folder(folder)
    for left in ("package/__pycache__/module.cpython-311.pyc", ".mypy_cache/cache.json", "package.egg-info/PKG-INFO"):
        (folder / left).parent.mkdir()
        (folder / left).write_text("noise")
    assert digest_of_folder(folder) == before


def test_it_counts_where_one_text_ends_and_the_next_begins() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
