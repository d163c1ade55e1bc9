"""How much is tested: a sample in `make test`, everything in `make test-full`."""

from __future__ import annotations

import os

import pytest

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "sample")
IS_FULL = PROFILE == "full"


def only_full(why: str) -> pytest.MarkDecorator:
    """Mark what the sample leaves out."""
    return pytest.mark.skipif(not IS_FULL, reason=f"{why}: part of make test-full")
