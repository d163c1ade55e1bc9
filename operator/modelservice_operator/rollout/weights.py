"""Turns the share of the requests that a revision is to get into pods: a Service spreads requests evenly over pods."""

from __future__ import annotations

from decimal import Decimal


def pods_at(weight: Decimal, promised: int, most: int) -> tuple[int, int]:
    """Return how many pods of the new and of the old revision come nearest to `weight`, a share from 0 to 1.

    Together they are the promised number, or up to `most`. Below 100 % the old revision keeps a pod wherever two fit.
    """
    if weight >= 1:
        return promised, 0
    pairs = [(new, total - new) for total in {promised, most} for new in range(1, promised + 1) if new < total]
    if not pairs:
        return promised, 0
    return min(pairs, key=lambda pair: (abs(Decimal(pair[0]) / sum(pair) - weight), sum(pair)))
