"""A certificate for the server of a test, and clients that trust it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from cluster.pki import Authority
from mounted import mount_secret

if TYPE_CHECKING:
    from pathlib import Path


class Identity:
    """What a server shows, in a mounted Secret of the kind kubernetes.io/tls."""

    def __init__(self, folder: Path, name: str) -> None:
        self._authority = Authority.create(folder / "pki")
        self.secret = folder / "tls"
        self.flags = ("--tls-cert", str(self.secret / "tls.crt"), "--tls-key", str(self.secret / "tls.key"))
        self.trust = ssl.create_default_context(cafile=self._authority.certificate)
        self.change(name)

    def change(self, name: str, key_of: str = "") -> None:
        """Put a new certificate in the place of the old one; with the key of another one it does not fit."""
        self._authority.issue(name, f"/CN={name}", ["127.0.0.1"])
        read = (self._authority.folder / f"{name}.crt", self._authority.folder / f"{key_of or name}.key")
        mount_secret(
            self.secret, {key: file.read_text() for key, file in zip(("tls.crt", "tls.key"), read, strict=True)}
        )
