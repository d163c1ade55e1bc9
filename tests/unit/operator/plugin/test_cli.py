"""How the command line is read. What the commands do: tests/controlplane/test_plugin.py."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from modelservice_operator.plugin import cli
from modelservice_operator.plugin.archive import archive
from modelservice_operator.plugin.completion import candidates, main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h0m5s", 3605), ("0s", 0)]
)
def test_a_time_is_written_as_in_kubernetes(text: str, seconds: float) -> None:
    assert cli._seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5x", "-1s", "1.5h", "m"])
def test_what_is_no_time_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["watch", "digits", f"--timeout={text}"])
    assert ended.value.code == 2
    assert "is no time such as 90s, 10m or 1h30m" in capsys.readouterr().err


def test_flags_may_stand_before_and_after_the_command() -> None:
    before = cli._parser().parse_args(["-n", "ml", "--context=c", "status", "digits"])
    after = cli._parser().parse_args(["status", "digits", "-n", "ml", "--context", "c"])
    assert vars(before) == vars(after)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "The following arguments are required: COMMAND. `kubectl modelservice --help` tells what may be given."),
        (["status"], "The following arguments are required: NAME. `kubectl modelservice status --help`"),
        (["stauts", "digits"], "Argument COMMAND: invalid choice: 'stauts'"),
        (["pause", "digits", "a-revision"], "Unrecognized arguments: a-revision."),
    ],
)
def test_a_wrong_command_line_is_told_in_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_without_kubectl_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli.main(["status", "digits"]) == 1
    assert capsys.readouterr().err.startswith("There is no kubectl on the PATH")


def test_tab_offers_commands_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    main(["p"])
    assert capsys.readouterr().out.split() == ["pause", "promote", ":4"]
    assert "--timeout" in candidates(["watch", "digits"], "-")
    assert "--timeout" not in candidates(["status", "digits"], "-")
    assert list(candidates(["-n", "ml", "--as=jane"], "")) == list(cli.COMMANDS)
    assert list(candidates(["status", "digits", "-o"], "")) == ["json", "text"]
    assert list(candidates(["status", "digits"], "")) == []
    assert list(candidates(["watch", "--timeout"], "")) == []


def test_one_file_is_the_whole_program(tmp_path: Path) -> None:
    program = tmp_path / "kubectl-modelservice"
    program.write_bytes(archive())
    program.chmod(0o755)
    completion = tmp_path / "kubectl_complete-modelservice"
    completion.symlink_to(program)
    # -S and -I: without any package that is installed here.
    run = [sys.executable, "-I", "-S"]
    told = subprocess.run([*run, program, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(command in told for command in cli.COMMANDS)
    offered = subprocess.run([*run, completion, "prom"], capture_output=True, text=True, check=True).stdout
    assert offered == "promote\n:4\n"
    assert program.read_bytes() == archive()
