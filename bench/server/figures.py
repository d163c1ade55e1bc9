"""From what was seen to the figures: medians over rounds, ours beside the best of the others."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from load import Load

    Seen = Mapping[str, Mapping[str, Sequence[Load]]]  # what was measured, server, one load per round

OURS, LIMIT = "ours", "limit"
_COMPARED = (
    "tiny, 64 connections",
    "tiny, 1 connection",
    "tiny, 1 connection, one CPU",
    "tiny, steady",
    "image, JSON",
    "image, binary",
)


def rotated(names: Sequence[str], by: int) -> list[str]:
    """Return the order of a round: no server always comes first, or always behind the same one."""
    by %= len(names)
    return [*names[by:], *names[:by]]


def median(loads: Iterable[Load], of: Callable[[Load], float]) -> float:
    """Return what a server shows over all rounds."""
    return statistics.median(map(of, loads))


def per_second(load: Load) -> float:
    """Return the requests answered in a second."""
    return load.per_second


def p50(load: Load) -> float:
    """Return the time that half of the requests took at most."""
    return load.p50_ms


def p99(load: Load) -> float:
    """Return the time that all but one of a hundred took at most."""
    return load.p99_ms


def fastest(seen: Mapping[str, Sequence[Load]], of: Callable[[Load], float] = per_second) -> str | None:
    """Return the peer with the most requests per second, or, for times, the shortest."""
    best = max if of is per_second else min
    peers = [name for name in seen if name not in (OURS, LIMIT)]
    return best(peers, key=lambda name: median(seen[name], of)) if peers else None


def beside(
    seen: Mapping[str, Sequence[Load]], other: str | None, of: Callable[[Load], float], one: str = OURS
) -> float | None:
    """Return one server's figure as a multiple of another's; nothing when one of the two has none."""
    if one not in seen or other is None or other not in seen:
        return None
    return round(median(seen[one], of) / median(seen[other], of), 3)


def compared(seen: Seen) -> dict[str, float | str | None]:
    """Return the figures about other servers."""
    crowd, alone, alone_on_one, steady, pictures, whole = (seen.get(what, {}) for what in _COMPARED)
    return {
        "best_peer": fastest(crowd),
        "tiny_vs_best_peer": beside(crowd, fastest(crowd), per_second),
        "tiny_vs_kserve": beside(crowd, "kserve", per_second),
        "tiny_limit_vs_kserve": beside(crowd, "kserve", per_second, LIMIT),
        "tiny_p99_vs_peer": beside(steady, fastest(steady), p99),
        "tiny_p99_closed_vs_peer": beside(crowd, fastest(crowd), p99),
        "single_p50_vs_peer": beside(alone, fastest(alone, p50), p50),
        "single_p50_limit_vs_peer": beside(alone, fastest(alone, p50), p50, LIMIT),
        "single_p50_one_cpu_vs_peer": beside(alone_on_one, fastest(alone_on_one, p50), p50),
        "binary_vs_limit": beside(whole, LIMIT, per_second),
        "json_vs_best_peer": beside(pictures, fastest(pictures), per_second),
    }


def against_raw(ours: Mapping[str, Sequence[Load]], raw: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return rows per second as a share of plain torch's, by precision, round by round; the lowest is the figure."""
    shares = {
        f"medium_vs_raw_{precision}": round(
            statistics.median(load.per_second / limit for load, limit in zip(loads, raw[precision], strict=True)), 3
        )
        for precision, loads in ours.items()
    }
    return {**shares, "medium_vs_raw": min(shares.values())} if shares else {}


def table(seen: Seen) -> str:
    """Show all rows to a person."""
    lines = [f"{'':28}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}"]
    for what, servers in seen.items():
        lines.append(what)
        for name in sorted(servers, key=lambda name: -median(servers[name], per_second)):
            numbers = [median(servers[name], of) for of in (per_second, p50, p99)]
            lines.append(f"  {name:26}{numbers[0]:12.0f}{numbers[1]:10.3f}{numbers[2]:10.2f}")
    return "\n".join(lines)
