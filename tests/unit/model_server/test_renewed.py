"""Files that are replaced while the server runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from model_server.errors import ModelError, Reason
from model_server.renewed import Renewed

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Number:
    """What the file of these tests holds."""

    value: int

    def told(self) -> str:
        return f"the number {self.value}"


class File:
    """A file, and how often it was read."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.reads = 0
        path.write_text(text)

    def read(self) -> Number:
        self.reads += 1
        try:
            return Number(int(self.path.read_text()))
        except (OSError, ValueError):
            raise ModelError(Reason.INVALID, f"There is no number in {self.path.name}.") from None

    def renewed(self) -> Renewed[Number]:
        return Renewed(lambda: [self.path], self.read)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "n", "1")


def test_what_has_not_changed_is_read_once(file: File) -> None:
    renewed = file.renewed()
    for _ in range(3):
        renewed.look()
    assert (renewed.content, file.reads) == (Number(1), 1)


def test_a_change_is_read_and_told(file: File, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    renewed = file.renewed()
    file.path.write_text("22")
    renewed.look()
    assert renewed.content == Number(22)
    assert caplog.messages == ["read again: the number 22"]


def test_a_file_that_another_takes_the_place_of_has_changed(file: File, tmp_path: Path) -> None:
    renewed = file.renewed()
    (tmp_path / "new").write_text("2")
    (tmp_path / "new").rename(file.path)
    renewed.look()
    assert renewed.content == Number(2)


@pytest.mark.parametrize("broken", ["no number", None])
def test_what_makes_no_sense_is_told_once_and_leaves_the_last_that_did(
    file: File, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = file.renewed()
    if broken is None:
        file.path.unlink()
    else:
        file.path.write_text(broken)
    for _ in range(3):
        renewed.look()
    assert (renewed.content, renewed.is_newest) == (Number(1), False)
    assert caplog.messages == ["There is no number in n. What was read before stays in force."]
    file.path.write_text("333")
    renewed.look()
    assert (renewed.content, renewed.is_newest) == (Number(333), True), "and a mended one is taken"


def test_a_change_while_it_is_read_is_seen_the_next_time(file: File) -> None:
    def read_and_replace() -> Number:
        found = file.read()
        if file.reads == 1:
            file.path.write_text("22")
        return found

    renewed = Renewed(lambda: [file.path], read_and_replace)
    assert renewed.content == Number(1)
    renewed.look()
    assert renewed.content == Number(22)


def test_where_another_process_tells_it_nothing_is_told(file: File, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    renewed = file.renewed()
    for text in ("22", "none"):
        file.path.write_text(text)
        renewed.look(silent=True)
    assert renewed.content == Number(22)
    assert caplog.messages == []


def test_what_makes_no_sense_at_first_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        File(tmp_path / "n", "none").renewed()
