"""Asks a Prometheus, or what answers as one does: instant queries only."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Final

import aiohttp
import orjson

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5)


class PrometheusError(Exception):
    """It did not answer, or not as it should; the message says what happened."""


class Prometheus:
    """One address, and how to get in there."""

    def __init__(self, url: str, *, token_file: str = "", ca_file: str = "") -> None:
        """Take the files as they are at each question: tokens and authorities are renewed."""
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._token_file, self._ca_file = token_file, ca_file

    async def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series that the query finds now; raises PrometheusError."""
        try:
            token, tls = await asyncio.to_thread(self._read)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), timeout=_TIMEOUT) as http,
                # A redirect would carry the token to who knows whom.
                http.post(self._url, data={"query": query}, headers=headers, allow_redirects=False) as answer,
            ):
                return _vector(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # the last: a token that is none
            raise PrometheusError(f"{type(error).__name__}: {error}".removesuffix(": ")) from None

    def _read(self) -> tuple[str, ssl.SSLContext | bool]:
        token = Path(self._token_file).read_text(encoding="utf-8").strip() if self._token_file else ""
        return token, ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True


def _vector(status: int, body: bytes) -> list[tuple[dict[str, str], float]]:
    try:
        found = orjson.loads(body)
        if found["status"] == "success" and found["data"]["resultType"] == "vector":
            return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]
        words = str(found.get("error", ""))[:200]
    except (ValueError, LookupError, TypeError, AttributeError):
        words = body[:200].decode(errors="replace")
    raise PrometheusError(f"HTTP {status}: {words}")
