"""What the pods of a service cost, by the prices that the administrator gives to classes of accelerator. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelservice_operator.config import Config
    from modelservice_operator.rollout.situation import Entry, Situation


def price_per_hour(situation: Situation, config: Config) -> float | None:
    """Add up the pods of all revisions, those on their way out too; None where no class of theirs has a price."""
    prices = [
        price * situation.workload(entry.name).pods
        for entry in situation.ledger
        if (price := _of_one_pod(entry, config)) is not None
    ]
    return sum(prices) if prices else None


def _of_one_pod(entry: Entry, config: Config) -> float | None:
    wanted = entry.spec.get("accelerator") or {}
    known = config.accelerators.get(wanted.get("class", ""))
    if known is None or known.price_per_hour is None:
        return None
    return known.price_per_hour * (wanted.get("count", 1) if known.resource else 1)
