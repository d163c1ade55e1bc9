"""Everything that a request to the API server can end with, sorted by what to do about it.

    KubeError
    ├── TerminalError               the same request fails again until somebody changes something
    │   ├── BadRequest              400 and the other refusals of the request as such (405, 406, 413, 415)
    │   ├── Forbidden               403: RBAC, an admission policy, a quota
    │   ├── Invalid                 422: validation, an immutable field
    │   └── SchemaError             500 of a server-side apply whose manifest does not fit the schema
    ├── TransientError              the same request may well succeed later
    │   ├── Conflict                409: the object is not the one (or the version) that the request meant
    │   │   ├── AlreadyExists       409: there is such an object
    │   │   └── FieldConflict       409: another field manager owns what an apply without force sets
    │   ├── Gone                    410: the resource version is too old to watch or to page from
    │   ├── NamespaceTerminating    403: nothing can be created here any more; all that is here goes, too
    │   ├── Throttled               429: come back after `retry_after` seconds
    │   ├── Unauthorized            401: the credentials have expired and new ones did not help (yet)
    │   └── Unavailable             5xx, time-outs, broken connections; a write may or may not have happened
    └── NotFound                    404: no such object, or no such kind; 403: the kind is on its way out

The message is always the server's own words.
"""

# ruff: noqa: N818 (the names are those that the API gives to its reasons)

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "FieldConflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "KubeError",
    "NamespaceTerminating",
    "NotFound",
    "SchemaError",
    "TerminalError",
    "Throttled",
    "TransientError",
    "Unauthorized",
    "Unavailable",
    "error_from_status",
]


class KubeError(Exception):
    """A request to the API server did not do what it was meant to do."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        """Seconds that the server asks for before the next try; None where it does not say."""


class TerminalError(KubeError):
    """The same request fails again until somebody changes something."""


class BadRequest(TerminalError):
    """The server does not understand the request."""


class Forbidden(TerminalError):
    """The operator may not do this: RBAC, an admission policy or a quota says so."""


class Invalid(TerminalError):
    """The object breaks a rule of its kind."""


class SchemaError(TerminalError):
    """The manifest of an apply does not fit the schema; the server says so with a 500, as if the fault were its own."""


class TransientError(KubeError):
    """The same request may well succeed later."""


class Conflict(TransientError):
    """The object has changed, or is another one, since it was looked at."""


class AlreadyExists(Conflict):
    """There is such an object already."""


class FieldConflict(Conflict):
    """Another field manager owns what an apply without force wanted to set."""


class Gone(TransientError):
    """The resource version is too old to go on from: list again."""


class NamespaceTerminating(TransientError):
    """The namespace is on its way out and takes no new objects."""


class Throttled(TransientError):
    """The server has too much to do."""


class Unauthorized(TransientError):
    """The server does not accept the credentials, not even freshly loaded ones."""


class Unavailable(TransientError):
    """The server did not answer, or answered that it cannot; a write may or may not have happened."""


class NotFound(KubeError):
    """There is no such object, or no such kind (any more)."""


_BY_CODE: Final[dict[int, type[KubeError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Throttled,
}
_KIND_GOES: Final = "while custom resource definition is terminating"
_TERMINAL_IN_500: Final = "failed to create typed patch object"
_SERVER_FAULTS: Final = 500


def error_from_status(code: int, status: dict[str, Any], *, retry_after: float | None = None) -> KubeError:
    """Choose the exception for an answer of the API server: its HTTP code and its `Status` body."""
    message = str(status.get("message") or f"HTTP {code}")
    causes = (status.get("details") or {}).get("causes") or ()
    reasons, fields = ({cause.get(name) for cause in causes} for name in ("reason", "field"))
    if code >= _SERVER_FAULTS:
        # Unknown fields, wrong types and duplicate keys in an apply: 500 without a reason (measured on 1.35).
        return (SchemaError if message.startswith(_TERMINAL_IN_500) else Unavailable)(message, retry_after=retry_after)
    if status.get("reason") == "AlreadyExists":
        return AlreadyExists(message)
    if "FieldManagerConflict" in reasons:
        return FieldConflict(message)
    if "NamespaceTerminating" in reasons:
        return NamespaceTerminating(message)
    if message.endswith(_KIND_GOES):
        return NotFound(message)
    if "metadata.uid" in fields:
        return Conflict(message)  # an apply that was bound to a UID met another object: 422, "immutable" (1.35)
    return _BY_CODE.get(code, BadRequest)(message, retry_after=retry_after)
