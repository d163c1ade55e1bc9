"""Archives are opened as if their makers were hostile."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from model_server.errors import ModelError, Reason
from model_server.fetch.source import Packing
from model_server.fetch.unpack import model_root, unpack

if TYPE_CHECKING:
    from pathlib import Path


def tar(path: Path, *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = "/etc/passwd"
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *members: tuple[str, bytes], attributes: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def refusal(archive: Path, packing: Packing, max_bytes: int = 1000) -> str:
    with pytest.raises(ModelError) as caught:
        unpack(archive, packing, archive.parent / "out", max_bytes=max_bytes)
    assert caught.value.reason is Reason.INVALID
    return caught.value.message


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_is_unpacked(mode: str, tmp_path: Path) -> None:
    unpack(
        tar(tmp_path / "a", ("./m/model.json", b"{}"), ("./m/w", b"12"), mode=mode),
        Packing.TAR,
        tmp_path / "out",
        max_bytes=4,
    )
    assert (tmp_path / "out/m/model.json").read_bytes() == b"{}"
    assert model_root(tmp_path / "out") == tmp_path / "out/m"


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    unpack(zipped(tmp_path / "a", ("model.json", b"{}"), ("deep/w", b"12")), Packing.ZIP, tmp_path / "out", max_bytes=4)
    assert (tmp_path / "out/deep/w").read_bytes() == b"12"
    assert model_root(tmp_path / "out") == tmp_path / "out"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..", "a\\..\\evil"])
def test_an_entry_that_points_outside_is_refused(name: str, tmp_path: Path) -> None:
    assert "points out of it" in refusal(tar(tmp_path / "t", (name, b"x")), Packing.TAR)
    assert not (tmp_path / "evil").exists()


def test_a_zip_that_slips_is_refused(tmp_path: Path) -> None:
    assert "points out of it" in refusal(zipped(tmp_path / "z", ("../evil", b"x")), Packing.ZIP)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_in_a_tar_is_refused(kind: bytes, tmp_path: Path) -> None:
    assert "'model.json' is a link" in refusal(tar(tmp_path / "t", ("model.json", b""), kind=kind), Packing.TAR)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_in_a_tar_is_refused(kind: bytes, tmp_path: Path) -> None:
    assert "is a device or a pipe" in refusal(tar(tmp_path / "t", ("null", b""), kind=kind), Packing.TAR)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "z", ("model.json", b"/etc/passwd"), attributes=stat.S_IFLNK | 0o777)
    assert "is a link" in refusal(archive, Packing.ZIP)


@pytest.mark.parametrize("packing", [Packing.TAR, Packing.ZIP])
def test_an_archive_that_unpacks_to_too_much_is_stopped_on_the_way(packing: Packing, tmp_path: Path) -> None:
    bomb = b"\0" * 10_000_000
    archive = (tar if packing is Packing.TAR else zipped)(tmp_path / "a", ("small", b"x" * 10), ("bomb", bomb))
    assert archive.stat().st_size < 100_000
    assert "more bytes than --max-bytes" in refusal(archive, packing, max_bytes=100_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= 100_000


def test_an_archive_that_names_a_file_twice_is_refused(tmp_path: Path) -> None:
    assert "cannot be unpacked" in refusal(tar(tmp_path / "t", ("a", b"1"), ("a", b"2")), Packing.TAR)


def test_an_archive_of_very_many_entries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_server.fetch.unpack.MAX_ENTRIES", 10)
    archive = tar(tmp_path / "t", *((f"d{i}/", b"") for i in range(11)), kind=tarfile.DIRTYPE)
    assert "more than 10 entries" in refusal(archive, Packing.TAR)


@pytest.mark.parametrize("packing", [Packing.TAR, Packing.ZIP])
@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", os.urandom(2000)], ids=["empty", "html", "noise"])
def test_what_is_no_archive_is_told_so(packing: Packing, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert "cannot be unpacked" in refusal(tmp_path / "a", packing)


def test_a_cut_archive_is_told_so(tmp_path: Path) -> None:
    whole = tar(tmp_path / "t", ("a", os.urandom(5000))).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:3000])
    assert "cannot be unpacked" in refusal(tmp_path / "cut", Packing.TAR, max_bytes=10_000)
