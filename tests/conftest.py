"""Sizes of the generated tests: a fixed-seed sample in `make test`, the full size in `make test-full`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from sizes import PROFILE

_BUSY = [HealthCheck.too_slow]  # that other programs keep the machine busy says nothing about ours
settings.register_profile(
    "sample", max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=_BUSY
)
settings.register_profile("full", max_examples=2000, deadline=None, print_blob=True, suppress_health_check=_BUSY)
settings.load_profile(PROFILE)
