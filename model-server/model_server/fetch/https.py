"""Requests over https: whom to trust, where redirects may lead, and what an answer that is none means."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from model_server.errors import ModelError, Reason
from model_server.fetch.patience import TransientError
from model_server.fetch.room import is_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def opener(ca_file: Path | None) -> urllib.request.OpenerDirector:
    """Make what sends requests, through the proxy of the environment where there is one."""
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust(ca_file)), _OnlyToHttps())


def trust(ca_file: Path | None) -> ssl.SSLContext:
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
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urlsplit(newurl).netloc == urlsplit(req.full_url).netloc:
            new.unredirected_hdrs.update(req.unredirected_hdrs)  # a token is for its own host
        return new


def refusal(answered: urllib.error.HTTPError, shown: str) -> ModelError | TransientError:
    """Say what a status means."""
    status = answered.code
    phrase = f"{status} {http.client.responses.get(status, '')}".strip()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_AGAIN:
        return TransientError(f"the server answers {phrase}")
    if status < HTTPStatus.BAD_REQUEST:  # urllib follows no circles, and some schemes it does not even ask us about
        return ModelError(Reason.REFUSED, f"{shown} redirects ({phrase}), but to no https address with content.")
    if status in _MISSING:
        return ModelError(Reason.NOT_FOUND, f"{shown} does not exist: the server answers {phrase}.")
    return ModelError(Reason.REFUSED, f"{shown} is refused: the server answers {phrase}.")


@contextlib.contextmanager
def told(
    shown: str, refused: Callable[[urllib.error.HTTPError, str], ModelError | TransientError] = refusal
) -> Iterator[None]:
    """Say in a sentence what a server or the way to it refuses."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            raise refused(error, shown) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            message = f"{shown} has a certificate that is not trusted: {error.reason.verify_message}."
            raise ModelError(Reason.UNREACHABLE, message) from error
        raise TransientError(_words(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        if is_full(error):
            raise
        raise TransientError(_words(error)) from error


def _words(error: BaseException | str) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
