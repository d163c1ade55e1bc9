"""An operator that dies often, and is there again in a moment.

Each is forked from a process that has imported everything: see impatient_operator.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.operator_process import OperatorProcess, Process
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = (sys.executable, str(Path(__file__).with_name("impatient_operator.py")))


class MortalOperator(OperatorProcess):
    """Starts in a moment; ends for good with `bury`."""

    _parent: subprocess.Popen[str] | None = None

    def bury(self) -> None:
        """End the operator, and whence it comes."""
        self.kill()
        if self._parent is not None:
            self._parent.communicate()  # when there is no more to tell it ends

    def _begin(self, arguments: Sequence[str]) -> Process:
        if self._parent is None:
            with self.log.open("a") as log:
                self._parent = subprocess.Popen(
                    _PROGRAM,
                    env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(arguments) + "\n")
        self._parent.stdin.flush()
        return _Forked(int(self._parent.stdout.readline()))


class _Forked:
    """A process that is not our child, so that nobody tells us how it ended."""

    def __init__(self, number: int) -> None:
        self._number = number

    def poll(self) -> int | None:
        try:
            os.kill(self._number, 0)
        except ProcessLookupError:
            return -1
        return None

    def send_signal(self, sig: int) -> None:
        os.kill(self._number, sig)

    def wait(self, timeout: float) -> int:
        return until(self.poll, "the operator has ended", patience=timeout)
