"""Requests to a registry of the OCI distribution specification: where it is, who asks, what its refusals mean.

ORAS for Python makes the same ones; it would bring requests and jsonschema with all they need into the image, and does
not go on where a download was interrupted.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from model_server import __version__
from model_server.errors import ModelError, Reason
from model_server.fetch.https import opener, refusal, told

if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator, Mapping

    from model_server.fetch.patience import TransientError
    from model_server.fetch.source import Artefact

CREDENTIALS = "DOCKER_AUTH_CONFIG"
_REMEDY = f"Credentials are in the Secret of credentialsSecretRef, in {CREDENTIALS} or in the configuration of docker"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_MANY_BYTES = 1024 * 1024


class Registry:
    """One repository of a registry, and what it has let this process do so far."""

    def __init__(self, artefact: Artefact, *, ca_file: Path | None, plain_http: bool, silence_seconds: float) -> None:
        self._artefact = artefact
        self._scheme = "http" if plain_http else "https"
        self._url = f"{self._scheme}://{artefact.registry}/v2/{artefact.repository}/"
        self._opener = opener(ca_file)
        self._silence_seconds = silence_seconds
        self._basic = _credentials(artefact.registry)
        self._authorization = ""

    @contextlib.contextmanager
    def open(
        self,
        path: str,
        method: str = "GET",
        body: bytes | Path | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and once more when the registry asks who it is that asks."""
        url = urljoin(self._url, path)
        with told(self._artefact.shown, self._refusal):
            try:
                answer = self._send(url, method, body, headers)
            except urllib.error.HTTPError as error:
                if error.code != HTTPStatus.UNAUTHORIZED:
                    raise
                error.close()
                self._authorization = self._authorize(error.headers.get("WWW-Authenticate", ""))
                answer = self._send(url, method, body, headers)
            with answer:
                yield answer

    def _send(
        self, url: str, method: str, body: bytes | Path | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        with contextlib.ExitStack() as stack:
            data = stack.enter_context(body.open("rb")) if isinstance(body, Path) else body
            size = {} if body is None else {"Content-Length": str(_size(body))}
            agent = {"User-Agent": f"model-server/{__version__}"}
            request = urllib.request.Request(url, data, {**agent, **size, **headers}, method=method)  # noqa: S310
            if self._authorization and urlsplit(url).netloc == self._artefact.registry:
                request.add_unredirected_header("Authorization", self._authorization)
            answer: http.client.HTTPResponse = self._opener.open(request, timeout=self._silence_seconds)
            return answer

    def _authorize(self, challenge: str) -> str:
        """Return what opens the registry: the password itself, or a token for it; nothing where there is none."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic":
            return f"Basic {self._basic}" if self._basic else ""
        asked = dict(_PARAMETER.findall(rest))
        realm = asked.pop("realm", "")
        if kind.lower() != "bearer" or urlsplit(realm).scheme not in {"https", self._scheme}:
            return ""
        query = urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        request = urllib.request.Request(f"{realm}?{query}")  # noqa: S310  # https, or http on request
        if self._basic:
            request.add_unredirected_header("Authorization", f"Basic {self._basic}")
        with self._opener.open(request, timeout=self._silence_seconds) as answer:
            text = answer.read(_MANY_BYTES)
        with contextlib.suppress(ValueError, AttributeError):
            told = json.loads(text)
            return f"Bearer {told.get('token') or told.get('access_token')}"
        return ""

    def _refusal(self, answered: urllib.error.HTTPError, shown: str) -> ModelError | TransientError:
        code = _code(answered)
        says = f"{self._artefact.registry} answers {answered.code} {code}".strip()
        if answered.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            who = "to these credentials" if self._basic else "to who shows no credentials"
            return ModelError(Reason.REFUSED, f"{shown} is refused {who}: {says}. {_REMEDY}.")
        if answered.code == HTTPStatus.NOT_FOUND:
            return ModelError(Reason.NOT_FOUND, f"{shown} does not exist: {says}.")
        found = refusal(answered, shown)
        return ModelError(found.reason, f"{shown} is refused: {says}.") if isinstance(found, ModelError) else found


def _size(body: bytes | Path) -> int:
    return body.stat().st_size if isinstance(body, Path) else len(body)


def _code(answered: urllib.error.HTTPError) -> str:
    """Return the registry's own word for an error."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return str(json.loads(answered.read(_MANY_BYTES))["errors"][0]["code"])
    return ""


# -- who asks


class _Account(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""


class _Docker(msgspec.Struct, frozen=True):
    auths: dict[str, _Account] = {}


def _credentials(registry: str) -> str:
    """Return the user and password of a registry as docker's configuration has them, in base64; else nothing."""
    for host, account in _configured().auths.items():
        if host.removeprefix("https://").removeprefix("http://").partition("/")[0] == registry:
            pair = f"{account.username}:{account.password}".encode()
            return account.auth or (base64.b64encode(pair).decode() if account.username else "")
    return ""


def _configured() -> _Docker:
    where, text = CREDENTIALS, os.environ.get(CREDENTIALS, "")
    if not text:
        path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker", "config.json")
        with contextlib.suppress(OSError):
            where, text = str(path), path.read_text(encoding="utf-8")
    try:
        return msgspec.json.decode(text, type=_Docker) if text else _Docker()
    except msgspec.MsgspecError:
        message = f'{where} is not a configuration of docker, which is {{"auths": {{"REGISTRY": {{"auth": "..."}}}}}}.'
        raise ModelError(Reason.INVALID, message) from None  # no word of it: there are passwords in it
