"""One HTTP exchange as the handlers see it: no sockets, no ASGI, so that any transport can carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from model_server.protocol.encode import encode_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.errors import RequestError

    Reply: TypeAlias = Callable[["Response"], None]
    Handler: TypeAlias = Callable[["Request", Reply], "Pending | None"]

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
JSON = ((b"content-type", b"application/json"),)
JSON_LENGTH = b"inference-header-content-length"  # how much of a body is JSON, where binary tensors follow it
_MAX_DIGITS = 18  # fits 64 bits


@dataclass(slots=True)  # here and below not frozen, which would cost a small model's request 1 µs each
class Request:
    """A request, read in full; header names are in lower case.

    `problem` says why the transport did not read the body. Handlers that need no body answer all the same, except to
    those who are not known.
    """

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | memoryview
    arrived: float
    problem: RequestError | None = None

    def header(self, name: bytes) -> bytes | None:
        """Find a header (requests have few: a scan beats a dict)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(slots=True)
class Response:
    """An answer; the transport adds content-length and what concerns the connection."""

    status: int
    body: bytes = b""
    headers: Headers = JSON


def number_of_bytes(value: bytes) -> int | None:
    """Read what a header says of a length; None: it is no number."""
    return int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else None


class Pending(Protocol):
    """An exchange whose reply comes later."""

    def cancel(self) -> None:
        """Say that nobody waits for it any more."""


def error_response(error: RequestError) -> Response:
    """Answer with the error's sentence."""
    return Response(error.status, encode_error(error.message), JSON + error.headers)
