"""Libraries that single commands need and the server does not: brought by extras, missed in one sentence."""

from __future__ import annotations

import importlib
from typing import Any

from model_server.errors import ModelError, Reason


def need(module: str, *, extra: str, what: str) -> Any:  # noqa: ANN401  # a module
    """Import it, or say who asks for it and how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        message = f"{what} needs {error.name}, which is not installed: pip install 'model-server[{extra}]'."
        raise ModelError(Reason.INVALID, message) from error
