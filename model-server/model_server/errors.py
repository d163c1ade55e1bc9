"""The errors of this package: one ends the program, one answers a request.

Exception
├── ModelError            the program cannot do its job: a reason for the operator, a sentence for its user
│   └── NeedsNativeError  under this trust; with more of it, it could
└── RequestError          one request cannot be answered: an HTTP status, a sentence for its sender
    └── UnauthorizedError its sender is not known
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a program ended, in the words that the operator repeats in its conditions."""

    DIGEST_MISMATCH = "DigestMismatch"
    NOT_TRUSTED = "NotTrusted"
    UNREACHABLE = "Unreachable"
    NOT_FOUND = "NotFound"
    CONFIG_MISSING = "ConfigMissing"
    REFUSED = "Refused"
    NO_SPACE = "NoSpace"
    INVALID = "Invalid"


class ModelError(Exception):
    """The program cannot go on."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NeedsNativeError(ModelError):
    """The artefact is not data alone, or cannot be shown to be."""

    def __init__(self, shown: str, why: str) -> None:
        remedy = (
            "Where you trust its maker, spec.model.trust: Native (serve --trust Native) lets torch run it; Signed does "
            "so, too, if a trusted key has signed it."
        )
        super().__init__(Reason.INVALID, f"{shown} is refused: {why}. {remedy}")


class RequestError(Exception):
    """One request cannot be answered; its connection and its neighbours are fine."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class UnauthorizedError(RequestError):
    """Who asks has shown no token that is known; nothing else about the request matters."""

    def __init__(self, message: str, *, error: bytes = b"") -> None:
        super().__init__(401, message, ((b"www-authenticate", b'Bearer error="%s"' % error if error else b"Bearer"),))


def client_gone() -> RequestError:
    """Tell of a request that nobody waits for any more: for the metrics alone."""
    return RequestError(499, "The client has gone.")


def model_failed() -> RequestError:
    """Tell of a request on which the model failed; the cause is for the log."""
    return RequestError(500, "The model failed on this request; the server's log has the cause.")


def queue_full(waiting: int, what: str) -> RequestError:
    """Tell of a request that could not even be queued."""
    message = f"The server is full: {waiting} {what} wait already. Try again in a second."
    return RequestError(429, message, ((b"retry-after", b"1"),))


def first_line(error: Exception) -> str:
    """Return what an error says, without the stack that torch tells after it, and without a full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
