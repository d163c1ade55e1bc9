"""One file over https: with patience for servers that are down, none for those that say no, and nothing but https."""

from __future__ import annotations

import logging
import time
import urllib.request
from typing import IO, TYPE_CHECKING

from model_server import __version__
from model_server.errors import ModelError, Reason
from model_server.fetch.https import opener, told
from model_server.fetch.patience import TransientError

if TYPE_CHECKING:
    import http.client
    from pathlib import Path

    from model_server.fetch.patience import Patience
    from model_server.fetch.source import Remote

log = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
PROGRESS_SECONDS = 5.0


def download(remote: Remote, target: Path, *, ca_file: Path | None, max_bytes: int, patience: Patience) -> None:
    """Write what the address holds to the target, trying again after faults that may pass."""
    sender = opener(ca_file)
    patience.try_to(lambda: _once(sender, remote, target, max_bytes, patience), remote.shown)


def _once(
    sender: urllib.request.OpenerDirector, remote: Remote, target: Path, max_bytes: int, patience: Patience
) -> None:
    agent = {"User-Agent": f"model-server/{__version__}"}
    request = urllib.request.Request(remote.url, headers=agent)  # noqa: S310  # parse_uri lets only https through
    with (
        told(remote.shown),
        sender.open(request, timeout=patience.silence_seconds) as response,
        target.open("wb") as file,
    ):
        _copy(response, file, remote, max_bytes)


def _copy(response: http.client.HTTPResponse, file: IO[bytes], remote: Remote, max_bytes: int) -> None:
    declared = response.headers.get("Content-Length", "")
    expected = int(declared) if declared.isdigit() else None
    if expected is not None and expected > max_bytes:
        raise _too_large(remote, max_bytes)
    received = 0
    shown_at = time.monotonic()
    while chunk := response.read(CHUNK_BYTES):
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(remote, max_bytes)
        file.write(chunk)
        if time.monotonic() - shown_at > PROGRESS_SECONDS:
            shown_at = time.monotonic()
            of = f" of {expected / 1e6:.0f}" if expected else ""
            log.info("%s: %.0f%s MB", remote.shown, received / 1e6, of)
    if expected is not None and received != expected:  # http.client ends a cut body like a whole one
        message = f"the connection broke after {received} of {expected} bytes"
        raise TransientError(message)


def _too_large(remote: Remote, max_bytes: int) -> ModelError:
    return ModelError(Reason.INVALID, f"{remote.shown} is larger than the {max_bytes} bytes that --max-bytes allows.")
