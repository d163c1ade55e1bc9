"""In which numbers a model computes: FP32, or bfloat16 where that is worth it.

`Auto` takes bfloat16 when all of these hold, in this order, and says which one did not: the processor computes in it,
the model brings golden outputs, gives them within the tolerance, and is faster for it. A small perceptron is not: there
is less to win than converting its inputs costs (measured with AVX512_BF16: 10-20-10, 16 rows, from 10 to 18 µs).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from model_server.errors import ModelError, Reason, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.protocol.datatypes import Array, Arrays

    Forward: TypeAlias = Callable[[Arrays], Arrays]

# Of the largest golden output. bfloat16 keeps 8 bits of a number, 0.4 %, and errors of layers add up a little
# (measured: 0.3 to 1.1 % for perceptrons, a cnn, and an encoder of six layers). A wrong layer is off by much more.
BFLOAT16_TOLERANCE = 0.02

_HAS_BFLOAT16 = re.compile(r"^(?:flags|Features)\s*:.*\b(?:avx512_bf16|amx_bf16|bf16)\b", re.MULTILINE)
_ENOUGH_SECONDS = 0.2
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 50
_CLEARLY_FASTER, _NOT_SLOWER = 0.9, 1.05


class Precision(StrEnum):
    """The words of `spec.precision`."""

    AUTO = "Auto"
    FLOAT32 = "Float32"
    BFLOAT16 = "BFloat16"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a model computes in, and why; the error is that of its golden outputs, as a share of the largest."""

    precision: Precision
    reason: str
    error: float | None

    def parameters(self) -> dict[str, object]:
        """Write it for the model's metadata."""
        told: dict[str, object] = {"precision": self.precision, "precision_reason": self.reason}
        return told if self.error is None else {**told, "golden_error": self.error}


def choose(
    wanted: Precision,
    full: Forward,
    reduced: Callable[[], Forward],
    inputs: Arrays,
    golden_outputs: Arrays | None,
    *,
    answers: Arrays,
) -> tuple[Forward, Choice]:
    """Choose between a forward function in FP32 and one in bfloat16, which is made if it may win.

    The first is proven: `answers` are what it gave for `inputs`.
    """
    error = None if golden_outputs is None else largest_error(answers, golden_outputs)
    if reason := _stays(wanted, has_golden=golden_outputs is not None):
        return full, Choice(Precision.FLOAT32, reason, error)
    right = answers if golden_outputs is None else golden_outputs
    try:
        candidate = reduced()
        off = largest_error(candidate(inputs), right)
        objection = f"bfloat16 is off its outputs by {off:.1%} of the largest, and {BFLOAT16_TOLERANCE:.0%} are allowed"
    except Exception as failure:  # noqa: BLE001  # whatever a model does that was not made for it
        candidate, off, objection = full, float("inf"), f"it does not run in bfloat16 ({first_line(failure)})"
    if off > BFLOAT16_TOLERANCE:
        if wanted is Precision.BFLOAT16:
            message = f"spec.precision: BFloat16 cannot be had for this model: {objection}. Write Auto or Float32."
            raise ModelError(Reason.INVALID, message)
        return full, Choice(Precision.FLOAT32, objection, error)
    if wanted is Precision.BFLOAT16:
        return candidate, Choice(Precision.BFLOAT16, "it was asked for", off)
    if is_faster(candidate, full, inputs):
        return candidate, Choice(Precision.BFLOAT16, "it is faster, and gives the golden outputs", off)
    return full, Choice(Precision.FLOAT32, "bfloat16 is not faster for this model on this processor", error)


def _stays(wanted: Precision, *, has_golden: bool) -> str | None:
    """Say why bfloat16 need not even be tried."""
    if wanted is Precision.FLOAT32:
        return "it was asked for"
    if wanted is Precision.AUTO and not processor_has_bfloat16():
        return "this processor does not compute in bfloat16"
    if wanted is Precision.AUTO and not has_golden:
        return "there are no golden outputs to hold bfloat16 against"
    return None


def has_bfloat16(cpuinfo: str) -> bool:
    """Tell from /proc/cpuinfo whether the processor itself multiplies bfloat16; others would emulate it slowly."""
    return _HAS_BFLOAT16.search(cpuinfo) is not None


def processor_has_bfloat16() -> bool:
    """Tell it of this machine."""
    try:
        return has_bfloat16(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False


def largest_error(answers: Arrays, right: Arrays) -> float:
    """Return the largest difference of any output, as a share of that output's largest number; inf for a wrong integer.

    Relative to the largest, not to each: an output near zero is as uncertain as its neighbours from the same sums.
    """
    return max(map(_error, answers, right), default=0.0)


def _error(answer: Array, right: Array) -> float:
    finite = np.isfinite(right)
    if answer.shape != right.shape or not np.array_equal(np.isfinite(answer), finite):
        return float("inf")
    if right.dtype.kind != "f":
        return 0.0 if np.array_equal(answer, right) else float("inf")
    if not finite.any():
        return 0.0
    expected = right[finite].astype(np.float64)
    scale = max(float(np.max(np.abs(expected))), float(np.finfo(np.float32).tiny))
    return float(np.max(np.abs(answer[finite].astype(np.float64) - expected))) / scale


def is_faster(candidate: Forward, present: Forward, inputs: Arrays) -> bool:
    """Measure both on one row and on all: the candidate must win clearly at one of them and lose at neither."""
    shares = [_share(candidate, present, tuple(array[:rows] for array in inputs)) for rows in {1, len(inputs[0])}]
    return min(shares) < _CLEARLY_FASTER and max(shares) < _NOT_SLOWER


def _share(candidate: Forward, present: Forward, inputs: Arrays) -> float:
    """Return the candidate's best time as a share of the present one's; taken in turns, so that noise meets both."""
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + _ENOUGH_SECONDS
    for count in range(_MOST_ROUNDS):
        for index, forward in enumerate((candidate, present)):
            start = time.perf_counter()
            forward(inputs)
            best[index] = min(best[index], time.perf_counter() - start)
        if count + 1 >= _LEAST_ROUNDS and time.perf_counter() > end:
            break
    return best[0] / best[1]
