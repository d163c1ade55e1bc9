"""One file over https: with patience for servers that are down, none for those that say no, and nothing but https."""

from __future__ import annotations

import http.client
import logging
import random
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING

from model_server import __version__
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.fetch.source import Remote

log = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
PROGRESS_SECONDS = 5.0
_MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may be silent, and how often and in which steps it is asked again."""

    silence_seconds: float = 30.0
    attempts: int = 5
    first_pause_seconds: float = 1.0

    def pause_seconds(self, attempt: int) -> float:
        """Double the pause each time, and spread it, so that the pods of one rollout do not come back together."""
        return self.first_pause_seconds * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311  # no secret


class TransientError(Exception):
    """It may work when tried again."""


def download(remote: Remote, target: Path, *, ca_file: Path | None, max_bytes: int, patience: Patience) -> None:
    """Write what the address holds to the target, trying again after faults that may pass."""
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_trust(ca_file)), _OnlyToHttps())
    for attempt in range(1, patience.attempts + 1):
        try:
            _once(opener, remote, target, max_bytes, patience)
        except TransientError as error:
            if attempt == patience.attempts:
                message = f"{remote.shown} could not be downloaded in {attempt} attempts: {error}."
                raise ModelError(Reason.UNREACHABLE, message) from error
            pause = patience.pause_seconds(attempt)
            log.warning("%s: %s; trying again in %.1f s", remote.shown, error, pause)
            time.sleep(pause)
        else:
            return


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the given authority alone, or else the system's."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        message = f"The CA file {ca_file} cannot be read as PEM certificates: {error.strerror or error}."
        raise ModelError(Reason.INVALID, message) from error


class _OnlyToHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917  # the signature is urllib's
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _once(
    opener: urllib.request.OpenerDirector, remote: Remote, target: Path, max_bytes: int, patience: Patience
) -> None:
    agent = {"User-Agent": f"model-server/{__version__}"}
    request = urllib.request.Request(remote.url, headers=agent)  # noqa: S310  # parse_uri lets only https through
    try:
        with opener.open(request, timeout=patience.silence_seconds) as response, target.open("wb") as file:
            _copy(response, file, remote, max_bytes)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error.code, remote) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            message = f"{remote.shown} has a certificate that is not trusted: {error.reason.verify_message}."
            raise ModelError(Reason.UNREACHABLE, message) from error
        raise TransientError(_words(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(_words(error)) from error


def _refusal(status: int, remote: Remote) -> ModelError | TransientError:
    phrase = f"{status} {http.client.responses.get(status, '')}".strip()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
        return TransientError(f"the server answers {phrase}")
    if status < HTTPStatus.BAD_REQUEST:  # urllib follows no circles, and some schemes it does not even ask us about
        return ModelError(Reason.REFUSED, f"{remote.shown} redirects ({phrase}), but to no https address with content.")
    if status in _MISSING:
        return ModelError(Reason.NOT_FOUND, f"{remote.shown} does not exist: the server answers {phrase}.")
    return ModelError(Reason.REFUSED, f"{remote.shown} is refused: the server answers {phrase}.")


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


def _words(error: BaseException | str) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
