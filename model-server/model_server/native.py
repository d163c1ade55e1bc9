"""Formats that run code of their own: loaded only where `spec.model.trust: Native` says so, and checked for nothing.

`handler.py` defines `load(directory: pathlib.Path)`. It is called once, and returns a function or a torch module that
takes one tensor per input of model.json, in its order and of its datatype, and gives a tensor, or a tuple of them, one
per output. Other files of the model directory can be imported and read.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from typing import TYPE_CHECKING, Any

import torch

from model_server.errors import ModelError, Reason, first_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def load_torchscript(path: Path) -> torch.nn.Module:
    """Load what torch.jit.save has written."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, which its user knows
            module: torch.nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(Reason.INVALID, f"{path} cannot be loaded as TorchScript: {first_line(error)}.") from error
    return module.eval()


def load_exported(path: Path) -> torch.nn.Module:
    """Let torch itself load what torch.export.save has written."""
    try:
        return torch.export.load(path).module()
    except Exception as error:  # whatever the file makes torch do
        raise ModelError(Reason.INVALID, f"{path} cannot be loaded by torch: {first_line(error)}.") from error


class Handler(torch.nn.Module):
    """The function that a handler gave, as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: torch.Tensor) -> Any:  # noqa: ANN401  # the handler's
        """Call it."""
        return self._function(*inputs)


def load_handler(path: Path) -> torch.nn.Module:
    """Run a handler's `load`."""
    spec = importlib.util.spec_from_file_location("handler", path)
    assert spec is not None  # noqa: S101  # the name ends in .py
    assert spec.loader is not None  # noqa: S101
    handler = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(handler)
        model = handler.load(path.parent)
    except FileNotFoundError as error:
        raise ModelError(Reason.INVALID, f"{error.filename} is missing.") from error
    except Exception as error:  # it is the user's code: anything may go wrong
        raise ModelError(Reason.INVALID, f"{path} fails: {type(error).__name__}: {first_line(error)}.") from error
    if not callable(model):
        message = f"load in {path} returned {type(model).__name__}; it has to return a function of the inputs' tensors."
        raise ModelError(Reason.INVALID, message)
    return model.eval() if isinstance(model, torch.nn.Module) else Handler(model)
