"""`model-server` with one architecture more: `echo` answers with its inputs, as slowly and as badly as a test needs.

Its parameters: `pause_seconds` per forward pass, and `unlucky`, a value that makes the whole batch fail.
"""

from __future__ import annotations

import sys
import time

import msgspec
import torch

from model_server.architectures import ARCHITECTURES, Architecture
from model_server.cli import main


class EchoParameters(msgspec.Struct, forbid_unknown_fields=True):
    """How the echo misbehaves."""

    pause_seconds: float = 0.0
    unlucky: float | None = None


class Echo(torch.nn.Module):
    """Gives its inputs back."""

    def __init__(self, parameters: EchoParameters) -> None:
        super().__init__()
        self.parameters_ = parameters

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Wait, look for bad luck, answer."""
        time.sleep(self.parameters_.pause_seconds)
        if self.parameters_.unlucky is not None and any((x == self.parameters_.unlucky).any() for x in inputs):
            message = f"{self.parameters_.unlucky} is unlucky"
            raise ValueError(message)
        return inputs


ARCHITECTURES["echo"] = Architecture(EchoParameters, Echo, lambda _parameters, _card: None, lambda _parameters: True)

if __name__ == "__main__":
    sys.exit(main())
