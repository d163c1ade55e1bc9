"""What every target is told, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model_server.errors import ModelError, Reason
from model_server.fetch.patience import Patience

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to get there, and whether to overwrite."""

    force: bool = False
    ca_file: Path | None = None
    source_mount: Path
    plain_http: bool = False
    tokens_dir: Path | None = None
    """Of a web server that asks for a bearer token."""
    patience: Patience = field(default_factory=lambda: Patience(what="uploaded"))


def occupied(shown: str, what: str) -> ModelError:
    """Refuse to overwrite."""
    message = f"{shown} is taken: {what}; nothing was changed. Push under another name, or overwrite it (--force)."
    return ModelError(Reason.REFUSED, message)
