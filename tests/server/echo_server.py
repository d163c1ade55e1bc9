"""`model-server` with one architecture more: `echo` answers with its inputs, as slowly and as badly as a test needs.

Its parameters: `pause_seconds` per forward pass; `unlucky`, a value that makes the whole batch fail; `homesick`, which
ends every process but the one that loaded it; `busy`, which starts a thread. With `--impatient` as the first argument,
a process that is silent for seconds is taken for dead.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import msgspec
import torch

from model_server import board, crew
from model_server.architectures import ARCHITECTURES, Architecture
from model_server.cli import main


class EchoParameters(msgspec.Struct, forbid_unknown_fields=True):
    """How the echo misbehaves."""

    pause_seconds: float = 0.0
    unlucky: float | None = None
    homesick: bool = False
    busy: bool = False


class Echo(torch.nn.Module):
    """Gives its inputs back."""

    def __init__(self, parameters: EchoParameters) -> None:
        super().__init__()
        self.parameters_ = parameters
        self.home = os.getpid()
        if parameters.busy:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Wait, look for bad luck, answer."""
        if self.parameters_.homesick and os.getpid() != self.home:
            os._exit(3)
        time.sleep(self.parameters_.pause_seconds)
        if self.parameters_.unlucky is not None and any((x == self.parameters_.unlucky).any() for x in inputs):
            message = f"{self.parameters_.unlucky} is unlucky"
            raise ValueError(message)
        return inputs


ARCHITECTURES["echo"] = Architecture(EchoParameters, Echo, lambda _parameters, _card: None, lambda _parameters: True)

if __name__ == "__main__":
    if sys.argv[1] == "--impatient":
        del sys.argv[1]
        board.STALE_SECONDS, crew._SILENCE_SECONDS, crew._CHECK_SECONDS = 1.5, 3.0, 0.1
    sys.exit(main())
