"""The certificate of the serving port, and the TLS that is spoken with it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, ready to be shown."""

    context: ssl.SSLContext
    source: str
    expires: float
    """In Unix time: when the first of the certificate and those that vouch for it does."""

    def told(self) -> str:
        """Say where it is from."""
        return f"the certificate {self.source}"


def read_pair(certificate: Path, key: Path) -> Pair:
    """Read a certificate, with those that vouch for it, and its key (PEM)."""
    context = _context()
    try:
        context.load_cert_chain(certificate, key, password="")  # an encrypted key is refused, not asked about
    except (FileNotFoundError, NotADirectoryError):
        message = (
            f"{certificate} or {key} does not exist (serve --tls-cert, --tls-key). Does the Secret of "
            "spec.security.tls.secretRef exist, with the keys tls.crt and tls.key?"
        )
        raise ModelError(Reason.CONFIG_MISSING, message) from None
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error.strerror)
        message = (
            f"{certificate} and {key} cannot be used for TLS: {why.replace('_', ' ').lower()}. They must be PEM and "
            "fit each other; the key must not be encrypted."
        )
        raise ModelError(Reason.INVALID, message) from None
    return Pair(context, str(certificate), _expires(certificate))


def _expires(file: Path) -> float:
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415  # 8 MB that servers without TLS spare

    shown = load_pem_x509_certificates(file.read_bytes())
    return min(each.not_valid_after_utc.timestamp() for each in shown)


def renewing_context(newest: Callable[[], Pair]) -> ssl.SSLContext:
    """Return a context in which every handshake shows the newest certificate; what is connected stays so.

    To load a pair into a context that is in use would leave the one before it there if its key is of another kind, and
    half of one that does not fit.
    """

    def show_newest(handshake: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = newest().context

    context = _context()
    context.sni_callback = show_newest  # called without a name, too
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
