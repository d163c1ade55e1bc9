"""The two errors of this package: one ends the program, one answers a request.

Exception
├── ModelError     the program cannot do its job: a reason for the operator, a sentence for its user
└── RequestError   one request cannot be answered: an HTTP status, a sentence for its sender
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a program ended, in the words that the operator repeats in its conditions."""

    DIGEST_MISMATCH = "DigestMismatch"
    UNREACHABLE = "Unreachable"
    NOT_FOUND = "NotFound"
    REFUSED = "Refused"
    INVALID = "Invalid"


class ModelError(Exception):
    """The program cannot go on."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class RequestError(Exception):
    """One request cannot be answered; its connection and its neighbours are fine."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
