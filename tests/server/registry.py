"""The reference registry of OCI artefacts: open to all, or over TLS for who has a password or a token."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from cluster import binaries, ports
from server.site import gives
from server.support import PATIENCE_SECONDS
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

USER, PASSWORD = "pusher", "s3cr3t-of-the-pusher"
HTPASSWD = "pusher:$2y$05$abcdefghijklmnopqrstuulgWbXAFLC8xzNa/frTB1Af.8hd94hX6\n"  # bcrypt, of that password
_BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_SERVICE = "tests"


@dataclass(frozen=True)
class Registry:
    """The server as its users see it."""

    port: int

    @property
    def host(self) -> str:
        """As in a URI."""
        return f"127.0.0.1:{self.port}"


def docker(host: str, password: str = PASSWORD) -> str:
    """Return docker's configuration for a registry."""
    pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return json.dumps({"auths": {f"https://{host}/v2/": {"auth": pair}}})


@contextlib.contextmanager
def open_registry(
    folder: Path, certificates: Path | None = None, auth: dict[str, Any] | None = None
) -> Iterator[Registry]:
    """Run it for a while."""
    (port,) = ports.free(1)
    http: dict[str, Any] = {"addr": f"127.0.0.1:{port}", "secret": "tests"}
    if certificates:
        http["tls"] = {"certificate": str(certificates / "site.crt"), "key": str(certificates / "site.key")}
    config = {"version": "0.1", "storage": {"filesystem": {"rootdirectory": str(folder)}}, "http": http, "auth": auth}
    (folder / "registry.yaml").write_text(json.dumps({key: value for key, value in config.items() if value}))
    command = [binaries.path("registry"), "serve", folder / "registry.yaml"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={"OTEL_TRACES_EXPORTER": "none"}, **quiet) as server:
        try:
            until(lambda: _answers(port), "the registry is there", patience=PATIENCE_SECONDS)
            yield Registry(port)
        finally:
            server.terminate()


def passwords(folder: Path) -> dict[str, Any]:
    """Have the registry ask for the password itself."""
    (folder / "htpasswd").write_text(HTPASSWD)
    return {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}


class Tokens:
    """A server of tokens: it gives to who has the password what the registry then lets in."""

    def __init__(self, folder: Path, realm: str) -> None:
        self.asked: list[str] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        public = {"kty": "EC", "crv": "P-256", "kid": "tests", "alg": "ES256", "use": "sig"}
        public |= {"x": _coded(numbers.x.to_bytes(32)), "y": _coded(numbers.y.to_bytes(32))}
        (folder / "jwks.json").write_text(json.dumps({"keys": [public]}))
        self.auth = {
            "token": {"realm": realm, "service": _SERVICE, "issuer": "tests", "jwks": str(folder / "jwks.json")}
        }

    def page(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request for a token."""
        asked = parse_qs(urlsplit(handler.path).query)
        (scope,) = asked["scope"]
        self.asked.append(scope)
        if handler.headers.get("Authorization") != _BASIC or asked["service"] != [_SERVICE]:
            gives(b"{}", 401)(handler)
            return
        kind, name, actions = scope.split(":")
        now = int(time.time())
        claims = {"iss": "tests", "sub": USER, "aud": _SERVICE, "exp": now + 60, "nbf": now - 60}
        claims |= {"access": [{"type": kind, "name": name, "actions": actions.split(",")}]}
        parts = [_coded(json.dumps(part).encode()) for part in ({"alg": "ES256", "kid": "tests", "typ": "JWT"}, claims)]
        signature = self._key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256()))
        parts.append(_coded(b"".join(number.to_bytes(32) for number in utils.decode_dss_signature(signature))))
        gives(json.dumps({"token": ".".join(parts)}).encode())(handler)


def _coded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
