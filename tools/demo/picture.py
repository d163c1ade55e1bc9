"""Numbers as text: a digit's pixels, a model's answer."""

import math
from collections.abc import Sequence

_SHADES = " .:-=+*#%@"
_WIDTH = 8
_WHITE = 16


def picture(pixels: Sequence[int]) -> str:
    """Draw a digit; a pixel is two characters wide, because characters are twice as high."""
    shades = [_SHADES[pixel * (len(_SHADES) - 1) // _WHITE] * 2 for pixel in pixels]
    rows = ["".join(shades[start : start + _WIDTH]) for start in range(0, len(shades), _WIDTH)]
    return "\n".join(f"    {row}".rstrip() for row in rows)


def shares(scores: Sequence[float]) -> list[float]:
    """Turn a classifier's scores into probabilities."""
    largest = max(scores)
    powers = [math.exp(score - largest) for score in scores]
    return [power / sum(powers) for power in powers]


def answer(scores: Sequence[float], *, best: int = 3) -> str:
    """Tell what the model takes the digit for, and what else it could be."""
    ranked = sorted(enumerate(shares(scores)), key=lambda pair: -pair[1])
    first, *others = (f"{digit} ({share:.1%})" for digit, share in ranked[:best])
    return f"{first}, else {' or '.join(others)}"
