"""Servers that models are fetched from."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from server.site import Site, certify, open_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a certificate of it for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    return certify(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def site(certificates: Path) -> Iterator[Site]:
    """A server over TLS, for one test."""
    with open_site(certificates) as site:
        yield site
