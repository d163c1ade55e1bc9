"""What one server process lets in, and the grammar of durations that its flags share with the API."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_PART = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> float:
    """Turn Gateway API's durations (`10s`, `1m30s`, `250ms`) into seconds."""
    if not _DURATION.fullmatch(text):
        msg = f"{text!r} is not a duration; write for example 10s, 250ms or 1m30s"
        raise ValueError(msg)
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on requests and connections; each has a flag of `model-server serve`."""

    max_batch_size: int = 64
    max_batch_delay_seconds: float = 0.0
    max_queue: int = 256
    request_timeout_seconds: float = 10.0
    max_explain_queue: int = 8
    explain_timeout_seconds: float = 15.0
    max_body_bytes: int = 64 * 1024 * 1024
    max_connection_age_seconds: float = 60.0  # 0: no limit
