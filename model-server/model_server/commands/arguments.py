"""What commands share: how values of flags are written, and how progress is told."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from model_server.limits import parse_duration


def duration(text: str) -> float:
    """Read a duration in seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """Read a number above 0."""
    number = int(text)
    if number < 1:
        message = f"{text} is not above 0"
        raise argparse.ArgumentTypeError(message)
    return number


def sizes(text: str) -> list[int]:
    """Read numbers above 0, between commas."""
    return [positive(part) for part in text.split(",")]


def is_set(variable: str) -> bool:
    """Tell whether a variable of the environment says yes."""
    return os.environ.get(variable, "").lower() in {"1", "true", "yes"}


def tell_progress() -> None:
    """Say on stderr what is done; libraries are heard only where something is wrong."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("model_server").setLevel(logging.INFO)
