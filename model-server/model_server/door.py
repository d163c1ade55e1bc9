"""What the serving port asks of those who come, and shows them: tokens and a certificate, renewed while it serves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from model_server.certificate import Pair, read_pair, renewing_context
from model_server.renewed import Renewed
from model_server.tokens import Tokens, read_tokens, token_files

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from model_server.errors import UnauthorizedError

# Whoever asks these has no token: the kubelet, load balancers.
OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})


@dataclass(slots=True)
class Door:
    """Without tokens everybody is let in, without a pair plain HTTP is spoken."""

    tokens: Renewed[Tokens] | None = None
    pair: Renewed[Pair] | None = None
    silent: bool = False  # where another process tells the same of the same files

    def look(self) -> None:
        """Renew what has changed; to be called once in a while."""
        for each in (self.tokens, self.pair):
            if each is not None:
                each.look(silent=self.silent)

    def renewals(self) -> dict[str, bool]:
        """Tell whether the files of each secret are in force as they are."""
        secrets = {"tokens": self.tokens, "tls": self.pair}
        return {name: each.is_newest for name, each in secrets.items() if each is not None}

    def told(self) -> str:
        """Say it in a line of the log."""
        shows = "plain HTTP" if self.pair is None else f"TLS with {self.pair.content.told()}"
        return f"{shows}, {'open to all' if self.tokens is None else self.tokens.content.told()}"

    def refusal(self, path: str, headers: list[tuple[bytes, bytes]]) -> UnauthorizedError | None:
        """Say why a request is not let in; None if it is."""
        if self.tokens is None or path in OPEN_PATHS:
            return None
        return self.tokens.content.refusal(headers)

    def context(self) -> ssl.SSLContext | None:
        """Return what handshakes are made with; None for plain HTTP."""
        pair = self.pair
        return None if pair is None else renewing_context(lambda: pair.content)


def build_door(tokens: Path | None, certificate: Path | None, key: Path | None) -> Door:
    """Read what there is; raises ModelError where that cannot be used."""
    door = Door()
    if tokens is not None:
        door.tokens = Renewed(partial(token_files, tokens), partial(read_tokens, tokens))
    if certificate is not None and key is not None:
        door.pair = Renewed(lambda: (certificate, key), partial(read_pair, certificate, key))
    return door
