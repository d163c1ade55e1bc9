"""The model that is judged, over HTTP: connections that are kept, patience with a server that is full or restarts."""

from __future__ import annotations

import contextlib
import http.client
import logging
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, quote, urlsplit

import orjson

from model_server import __version__
from model_server.errors import ModelError, Reason
from model_server.evaluate.wire import JSON_LENGTH
from model_server.fetch.https import trust
from model_server.tokens import read_token

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from model_server.evaluate.wire import Request

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_QUOTED_CHARACTERS = 300
_END = "-----END CERTIFICATE-----"
FULL = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the model is, and what its server is to be shown and to show."""

    url: str
    model: str
    tokens_dir: Path | None = None
    ca_file: Path | None = None
    server_name: str = ""
    server_cert: Path | None = None
    request_timeout_seconds: float = 30.0

    @property
    def model_path(self) -> str:
        """Where the protocol has the model."""
        return f"/v2/models/{quote(self.model, safe='')}"

    def opener(self) -> Callable[[], Line]:
        """Read the files once, and return what opens connections."""
        parts = _parts(self.url)
        host, port = str(parts.hostname), parts.port
        headers = {"User-Agent": f"model-server/{__version__}"}
        if self.tokens_dir:
            headers["Authorization"] = f"Bearer {read_token(self.tokens_dir)}"
        timeout = self.request_timeout_seconds
        if parts.scheme == "http":
            return lambda: Line(http.client.HTTPConnection(host, port, timeout=timeout), self, headers)
        context = _pinned(self.server_cert) if self.server_cert else _trusting(self.ca_file)
        name = self.server_name or host
        return lambda: Line(_Secured(host, port, timeout=timeout, context=context, name=name), self, headers)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read in full, and the time from the first byte of the request to its last one."""

    status: int
    json_bytes: str | None
    retry_after: str
    body: bytes
    seconds: float

    @property
    def error(self) -> str:
        """What the server says of it, in one short line."""
        text = self.body[: 4 * _QUOTED_CHARACTERS].decode(errors="replace")
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
            text = str(orjson.loads(self.body)["error"])
        return " ".join(text.split())[:_QUOTED_CHARACTERS] or "it does not say why"


class Line:
    """A kept connection, for one thread."""

    def __init__(self, connection: http.client.HTTPConnection, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._headers = headers

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def infer(self, request: Request) -> Reply:
        """Send an inference once."""
        return self._send("POST", f"{self._endpoint.model_path}/infer", request.body, request.headers)

    def offer(self, request: Request) -> Reply:
        """Send an inference, patiently; the answer may be that the server does not like it."""
        return self._patiently(lambda: self.infer(request))

    def ask(self, request: Request) -> Reply:
        """Send an inference that has to be answered."""
        reply = self.offer(request)
        if reply.status != HTTPStatus.OK:
            self.refuse(reply)
        return reply

    def get(self, path: str) -> Reply:
        """Ask for a description."""
        return self._patiently(lambda: self._send("GET", path, None, {}))

    def _patiently(self, ask: Callable[[], Reply]) -> Reply:
        """Ask until the server is not full, or give up. Who is known to be wrong is told so at once."""
        attempt = 1
        while True:
            pause = _FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1)
            try:
                reply = ask()
            except TimeoutError as error:
                seconds = self._endpoint.request_timeout_seconds
                raise self._unreachable(f"did not answer within {seconds:g} s (--request-timeout)") from error
            except ssl.SSLCertVerificationError as error:
                why = f"shows a certificate that is not trusted: {error.verify_message}"
                raise self._unreachable(f"{why}; see --ca-file, --server-name, --server-cert") from error
            except (OSError, http.client.HTTPException) as error:
                why = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
            else:
                if reply.status not in FULL:
                    return reply
                why = f"answers {reply.status}: {reply.error}"
                if reply.retry_after.isdecimal():
                    pause = float(reply.retry_after)
            if attempt == ATTEMPTS:
                raise self._unreachable(f"gave no answer in {attempt} attempts, the last time: {why}")
            log.warning("%s: %s; asking again", self._endpoint.url, why)
            time.sleep(min(pause, _LONGEST_PAUSE_SECONDS))
            attempt += 1

    def refuse(self, reply: Reply, asked: str = "an inference") -> NoReturn:
        """Say what an answer means that is none."""
        where = f"{self._endpoint.url} answers {reply.status}"
        if reply.status == HTTPStatus.UNAUTHORIZED:
            raise ModelError(Reason.REFUSED, f"{where}: give a bearer token that it knows (--tokens-dir).")
        reason = Reason.NOT_FOUND if reply.status == HTTPStatus.NOT_FOUND else Reason.INVALID
        raise ModelError(reason, f"{where} to {asked}: {reply.error.rstrip('.')}.")

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        started = time.perf_counter()
        try:
            self._connection.request(method, path, body, {**self._headers, **headers})
            with self._connection.getresponse() as answer:
                content = self._read(answer)
                seconds = time.perf_counter() - started
        except BaseException:
            self._connection.close()  # what it is in the middle of is no beginning for the next request
            raise
        told = answer.headers
        return Reply(answer.status, told.get(JSON_LENGTH), told.get("retry-after", ""), content, seconds)

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        content = answer.read(MAX_ANSWER_BYTES + 1)
        if len(content) > MAX_ANSWER_BYTES:
            message = f"{self._endpoint.url} answers with more than {MAX_ANSWER_BYTES} bytes"
            raise ModelError(Reason.INVALID, f"{message}; let --batch ask for fewer rows at once.")
        if answer.length:  # http.client ends a cut body like a whole one
            raise http.client.IncompleteRead(content, answer.length)
        return content

    def _unreachable(self, what: str) -> ModelError:
        return ModelError(Reason.UNREACHABLE, f"The model's server at {self._endpoint.url} {what}.")


class _Secured(http.client.HTTPSConnection):
    """Over TLS, with a server whose certificate may have another name than its address."""

    def __init__(self, host: str, port: int | None, *, timeout: float, context: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._trust = context
        self._name = name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock: socket.socket = self._trust.wrap_socket(self.sock, server_hostname=self._name)


def _parts(url: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        _ = parts.port
        if parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and "@" not in parts.netloc:
            return parts
    raise ModelError(
        Reason.INVALID, "--url is not the address of a server; write http://HOST:PORT or https://HOST:PORT."
    )


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Trust whatever stands in the file, be it an authority or a certificate of a server."""
    context = trust(ca_file)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _pinned(certificate: Path) -> ssl.SSLContext:
    """Trust one certificate alone, whatever names it has, and not those that have signed it."""
    try:
        first = ssl.PEM_cert_to_DER_cert(
            certificate.read_text(encoding="ascii").partition(_END)[0].strip() + "\n" + _END
        )
        context = ssl.create_default_context(cadata=first)
    except (OSError, ValueError) as error:
        message = f"The certificate {certificate} (--server-cert) cannot be read as PEM: {error}."
        raise ModelError(Reason.INVALID, message) from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
