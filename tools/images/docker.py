"""Images by docker, from a public base. Not exercised where this project is built: no docker runs there."""

from collections.abc import Mapping
from pathlib import Path

from images.programs import answers, run


def runs() -> bool:
    """Whether a docker daemon answers."""
    return answers(["docker", "info"])


def build(context: Path, tag: str, *, arguments: Mapping[str, str], log: Path) -> None:
    """Build an image; docker keeps the layers."""
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    run(["docker", "build", "--tag", tag, *options, context], log=log)


def save(tag: str, archive: Path, *, log: Path) -> None:
    """Write an image as a docker archive."""
    run(["docker", "save", "--output", archive, tag], log=log)
