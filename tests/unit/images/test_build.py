import json
from pathlib import Path

import pytest

from images import build, cli, docker, recipe


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> build.Image:
    monkeypatch.setattr(build, "REPOSITORY", tmp_path)
    monkeypatch.setattr(build, "OUTPUT", tmp_path / ".images")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    context = tmp_path / "operator"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\n")
    return build.Image("operator", context, (recipe.python_base("forky"),))


@pytest.fixture(autouse=True)
def docker_commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A docker that writes down what it is asked for."""
    commands: list[str] = []

    def runs(command: list[str | Path], **_log: Path) -> None:
        commands.append(" ".join(map(str, command)))
        if "--output" in command:
            Path(command[command.index("--output") + 1]).write_bytes(b"image")

    monkeypatch.setattr(docker, "runs", lambda: True)
    monkeypatch.setattr(docker, "run", runs)
    return commands


def test_unchanged_inputs_start_no_program(image: build.Image, docker_commands: list[str]) -> None:
    build.build((image,), {})
    assert [command.split()[1] for command in docker_commands] == ["build", "save"]
    build.build((image,), {})
    assert len(docker_commands) == 2


def test_an_edit_another_argument_and_a_damaged_archive_each_build_anew(
    image: build.Image, docker_commands: list[str]
) -> None:
    build.build((image,), {})
    (image.context / "Dockerfile").write_text("FROM scratch\nUSER 10001\n")
    build.build((image,), {})
    build.build((image,), {"BASE_IMAGE": "python:3.14-slim"})
    image.archive.write_bytes(b"imag")
    build.build((image,), {"BASE_IMAGE": "python:3.14-slim"})
    assert len(docker_commands) == 8
    assert "--build-arg=BASE_IMAGE=python:3.14-slim" in docker_commands[-2]


def test_the_record_beside_the_archive_tells_what_it_was_made_of(image: build.Image) -> None:
    build.build((image,), {"TORCH": "torch==2.14"})
    record = json.loads(image.record.read_text())
    assert record["image"] == "localhost/modelservice/operator:dev"
    assert record["bytes"] == 5
    assert record["arguments"] == {"TORCH": "torch==2.14"}


def test_an_archive_that_could_not_be_finished_leaves_nothing(
    image: build.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(_tag: str, archive: Path, **_log: Path) -> None:
        archive.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(docker, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        build.build((image,), {})
    assert list(build.OUTPUT.iterdir()) == []


def test_an_unknown_image_is_told_with_those_that_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["images", "build", "opreator"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "no image opreator; there are operator and model-server" in capsys.readouterr().err


def test_an_image_tells_in_one_line_what_it_stands_on() -> None:
    versions = {"libc6": "2.43-7", "python3": "3.14.7-3", "python3.14": "3.14.8-1", "python3-torch": "2.14.1+dfsg-1"}
    told = build.description(recipe.torch_base("forky"), versions)
    assert told == "Debian forky: python3.14 3.14.8-1, python3-torch 2.14.1+dfsg-1"
