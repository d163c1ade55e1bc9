"""The termination message: one line of JSON that tells the operator how a container ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_server.errors import ModelError

TERMINATION_LOG = Path("/dev/termination-log")
# The kubelet keeps 4096 bytes of a container's message; a cut JSON line would be no JSON.
MAX_MESSAGE_CHARACTERS = 3000


def default_path() -> Path | None:
    """Return Kubernetes' termination log where there is one: outside of a pod nothing is written."""
    return TERMINATION_LOG if TERMINATION_LOG.is_file() and os.access(TERMINATION_LOG, os.W_OK) else None


def failure(error: ModelError) -> dict[str, object]:
    """Say why the program could not do its job."""
    return {"reason": str(error.reason), "message": error.message[:MAX_MESSAGE_CHARACTERS]}


def write(path: Path | None, facts: Mapping[str, object]) -> None:
    """Write the facts as one line, in place: the kubelet mounts the file, so it cannot be renamed over."""
    if path is not None:
        path.write_text(json.dumps(facts) + "\n", encoding="utf-8")
