"""A directory appears at once, and a failed one not at all."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from model_server.artefact.publish import publish, staging

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_published_can_be_read_by_others_and_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    with staging(tmp_path) as place:
        (place / "out").mkdir(mode=0o700)
        (place / "out/new").touch(mode=0o600)
        publish(place / "out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out/new").stat().st_mode) == 0o644


def test_a_failure_on_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    def fails() -> None:
        with staging(tmp_path) as place:
            (place / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
