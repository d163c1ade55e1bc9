"""Runs the generated histories of the plan (tests/unit) so many times, and counts those that break a promise."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, seed, settings

from unit.operator.rollout import test_plan_histories

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS: list[Callable[[], None]] = [
    test for name, test in sorted(vars(test_plan_histories).items()) if name.startswith("test_")
]


def histories(number: int, seeded: int) -> dict[str, int]:
    """Return how many histories ran, and how many tests of them found one that breaks a promise."""
    ran, broken = 0, 0
    for test in TESTS:
        property_ = test.hypothesis.inner_test  # type: ignore[attr-defined]

        def counted(*given: Any, property_: Callable[..., None] = property_, **named: Any) -> None:  # noqa: ANN401
            nonlocal ran
            ran += 1
            property_(*given, **named)

        test.hypothesis.inner_test = counted  # type: ignore[attr-defined]
        size = settings(
            max_examples=-(-number // len(TESTS)), deadline=None, database=None, suppress_health_check=[*HealthCheck]
        )
        try:
            size(seed(seeded)(test))()
        except (AssertionError, ExceptionGroup) as error:
            broken += 1
            print(f"{test.__name__}: {error}", file=sys.stderr, flush=True)
    return {"histories": ran, "invariant_violations": broken}
