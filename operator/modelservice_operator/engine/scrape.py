"""Reads pages of metrics from pods: a few at a time, none for long, none that is large."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

_AT_ONCE: Final = 16
_PATIENCE_SECONDS: Final = 3.0
_MAX_BYTES: Final = 1 << 20  # vLLM's are a fifth of that
ACCEPT: Final = "text/plain;version=0.0.4"  # in the newer format some write names otherwise than queries do
_HEADERS: Final = {"Accept": ACCEPT, "Accept-Encoding": "identity"}  # of what is compressed, little may become much


class ScrapeError(Exception):
    """There is no such page; the message says what happened instead."""


class Scraper:
    """Asks over plain HTTP, on a connection of its own each time."""

    def __init__(self, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._patience_seconds = patience_seconds

    async def page(self, url: str) -> bytes:
        """Return the page at an address; raises ScrapeError."""
        async with self._slots:
            try:
                async with asyncio.timeout(self._patience_seconds):
                    return await _get(url)
            except TimeoutError:
                raise ScrapeError(f"does not answer within {self._patience_seconds:g} seconds ({url})") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                words = f"{type(error).__name__}: {error}".removesuffix(": ")
                raise ScrapeError(f"does not answer: {words} ({url})") from None


async def _get(url: str) -> bytes:
    async with (
        aiohttp.ClientSession(headers=_HEADERS, auto_decompress=False) as http,
        http.get(url, allow_redirects=False) as answer,  # a pod sends nobody elsewhere
    ):
        if answer.status != 200:  # noqa: PLR2004 (OK)
            raise ScrapeError(f"answers with HTTP {answer.status} ({url})")
        page = bytearray()
        async for part in answer.content.iter_any():
            page += part
            if len(page) > _MAX_BYTES:
                raise ScrapeError(f"has more than {_MAX_BYTES >> 20} MiB of metrics ({url})")
        return bytes(page)
