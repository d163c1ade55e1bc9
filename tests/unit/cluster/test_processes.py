"""Processes are found by their mark, wherever they come from, and nothing else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster import processes

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def sleeper(directory: Path) -> subprocess.Popen[bytes]:
    directory.mkdir(exist_ok=True)
    return processes.spawn(["sleep", "600"], directory=directory, log=directory / "log", outlives_us=False)


def test_only_what_carries_the_mark_of_this_cluster_is_killed(tmp_path: Path) -> None:
    ours, others = sleeper(tmp_path / "one"), sleeper(tmp_path / "two")
    processes.kill_all(tmp_path / "one")
    assert ours.wait(timeout=5) == -9
    assert processes.find(tmp_path / "two") == [others.pid]
    processes.kill_all(tmp_path / "two")
    assert others.wait(timeout=5) == -9


def test_a_child_that_was_let_loose_is_found_too(tmp_path: Path) -> None:
    tmp_path.joinpath("one").mkdir()
    parent = processes.spawn(
        ["sh", "-c", "sleep 600 & echo $!"], directory=tmp_path / "one", log=tmp_path / "log", outlives_us=False
    )
    assert parent.wait(timeout=5) == 0
    orphan = int((tmp_path / "log").read_text())
    assert processes.find(tmp_path / "one") == [orphan]
    processes.kill_all(tmp_path / "one")
    assert processes.find(tmp_path / "one") == []


def test_an_ended_process_that_nobody_reaped_counts_as_gone(tmp_path: Path) -> None:
    ended = sleeper(tmp_path / "one")
    processes.kill_all(tmp_path / "one")
    assert processes.find(tmp_path / "one") == []
    ended.wait(timeout=5)


def test_a_process_that_turns_into_another_program_is_found_all_the_time(tmp_path: Path) -> None:
    restless = tmp_path / "restless"
    restless.write_text('#!/bin/sh\nexec "$0"\n')
    restless.chmod(0o755)
    process = processes.spawn([restless], directory=tmp_path, log=tmp_path / "log", outlives_us=False)
    assert all(processes.find(tmp_path) == [process.pid] for _ in range(200))
    processes.kill_all(tmp_path)
    process.wait(timeout=5)


def test_a_process_of_this_namespace_is_not_the_first_of_another(tmp_path: Path) -> None:
    ours = sleeper(tmp_path / "one")
    assert not processes.is_first_of_a_namespace(ours.pid)
    processes.kill_all(tmp_path / "one")
    ours.wait(timeout=5)


def test_the_end_of_a_log_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert processes.tail(log) == "(it wrote nothing)"
    log.write_text("".join(f"{number}\n" for number in range(100)))
    assert processes.tail(log, lines=2) == "98\n99"
