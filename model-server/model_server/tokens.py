"""Bearer tokens (RFC 6750): which ones are known. Only their digests are kept."""

from __future__ import annotations

import contextlib
import hmac
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from model_server.errors import ModelError, Reason, UnauthorizedError

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_HEADER = b"authorization"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The digests of all that are known, and the names of files that hold none."""

    digests: frozenset[bytes]
    no_tokens: tuple[str, ...] = ()

    def knows(self, token: bytes) -> bool:
        """Compare with each: how long it takes tells nothing of how near a guess is."""
        given = sha256(token).digest()
        known = False
        for digest in self.digests:
            known |= hmac.compare_digest(given, digest)
        return known

    def told(self) -> str:
        """Say how many there are."""
        count = f"{len(self.digests)} bearer token{'s' * (len(self.digests) > 1)}"
        return f"{count}; there is none in {', '.join(self.no_tokens)}" if self.no_tokens else count

    def refusal(self, headers: list[tuple[bytes, bytes]]) -> UnauthorizedError | None:
        """Say what is wrong with who asks, None if nothing is."""
        shown = [value for name, value in headers if name == _HEADER]
        if not shown:
            return UnauthorizedError("This server asks for a bearer token; send Authorization: Bearer TOKEN.")
        scheme, _, token = shown[0].partition(b" ")
        if len(shown) == 1 and scheme.lower() == b"bearer" and self.knows(token.strip(b" ")):
            return None
        return UnauthorizedError(
            "The header Authorization does not hold a bearer token that this server knows.", error=b"invalid_token"
        )


def token_files(directory: Path) -> list[Path]:
    """Return the files that may hold a token: where a Secret is mounted, one for each of its keys.

    There `..data` leads to all files of one version, and is swapped as a whole; the links beside it follow one by one.
    """
    folder = directory / "..data"
    try:
        return sorted((folder if folder.is_dir() else directory).iterdir())
    except OSError:
        return []


def read_tokens(directory: Path) -> Tokens:
    """Read the tokens that are known."""
    found = _tokens_of(directory)
    no_tokens = tuple(name for name, token in found.items() if token is None)
    return Tokens(frozenset(sha256(token).digest() for token in found.values() if token is not None), no_tokens)


def read_token(directory: Path) -> str:
    """Read one that may be shown to a server which knows them all."""
    return next(token for token in _tokens_of(directory).values() if token is not None).decode("ascii")


def _tokens_of(directory: Path) -> dict[str, bytes | None]:
    """Read what each file holds; space around a token, such as the end of its line, is none of it."""
    found = {}
    for file in token_files(directory):
        with contextlib.suppress(OSError):  # a folder, or gone meanwhile
            token = file.read_bytes().strip()
            found[file.name] = token if _TOKEN.fullmatch(token) else None
    if not any(found.values()):
        message = (
            f"There is no bearer token in {directory} (--tokens-dir). Does the Secret of "
            "spec.security.auth.tokensSecretRef exist? Each of its keys holds one: letters, digits and -._~+/ only."
        )
        raise ModelError(Reason.CONFIG_MISSING, message)
    return found
