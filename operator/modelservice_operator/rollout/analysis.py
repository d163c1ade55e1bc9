"""Judges a revision by the live requests that it has answered."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from modelservice_operator.api.reasons import Reason

if TYPE_CHECKING:
    from modelservice_operator.api.types import Analysis
    from modelservice_operator.monitoring.readings import Reading


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks against a revision, if anything does."""

    is_enough: bool
    """Whether it has answered enough requests for a judgement."""
    reason: Reason | None = None
    """Why it must not go on; None: it may."""
    message: str = ""


def find(terms: Analysis, new: Reading | None, stable: Reading | None) -> Finding:
    """Return what the requests since the last step show; a comparison needs enough of them on both sides."""
    if new is None or new.requests < terms.min_requests:
        return Finding(is_enough=False)
    rate, most = Decimal(str(new.error_rate or 0.0)), terms.max_error_rate.share
    if rate > most:
        message = f"{_percent(rate)} of {new.requests:.0f} requests failed, and at most {terms.max_error_rate} may."
        return Finding(True, Reason.ERROR_RATE, message)
    if stable is None or stable.requests < terms.min_requests or new.p95_seconds is None or stable.p95_seconds is None:
        return Finding(True)
    limit = stable.p95_seconds * (1 + float(terms.max_latency_regression.share))
    if new.p95_seconds > limit:
        message = (
            f"95% of {new.requests:.0f} requests took up to {new.p95_seconds * 1000:.1f}ms; of the stable revision's "
            f"up to {stable.p95_seconds * 1000:.1f}ms, and it may be at most {terms.max_latency_regression} more."
        )
        return Finding(True, Reason.LATENCY_REGRESSION, message)
    return Finding(True)


def measured(reading: Reading) -> dict[str, str]:
    """Return a reading as the ledger and the history keep it."""
    rate, p95 = reading.error_rate, reading.p95_seconds
    return {
        "requests": f"{reading.requests:.0f}",
        **({"error_rate": f"{rate:.4f}"} if rate is not None else {}),
        **({"latency_p95_live": f"{p95:.4f}"} if p95 is not None else {}),
    }


def _percent(share: Decimal) -> str:
    return f"{float(share) * 100:.3g}%"
