"""What came of the rows, and the figures of all or some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from model_server.evaluate import intervals
from model_server.evaluate.scores import CLASSIFICATION, REGRESSION, Tally, differences, labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.evaluate.intervals import Interval
    from model_server.protocol.datatypes import Array


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of each row what is right and what was answered."""

    truth: Array
    answers: Array
    said: Array | None
    """The class that an answer names, where classes are judged; else numbers are."""

    @classmethod
    def of(cls, asked: Sequence[str], answers: Array, truth: Array) -> Outcome:
        """Read the answers as what is asked about."""
        is_of_classes = any(name in CLASSIFICATION for name in asked)
        return cls(truth, answers, labels_of(answers, truth) if is_of_classes else None)

    def scores(self, asked: Sequence[str]) -> dict[str, float]:
        """Return those figures that are of rows."""
        if self.said is not None:
            tally = Tally.of(self.truth, self.said)
            return {name: CLASSIFICATION[name](tally) for name in asked if name in CLASSIFICATION}
        off = differences(self.answers, self.truth)
        with np.errstate(over="ignore"):
            return {name: REGRESSION[name](off) for name in asked if name in REGRESSION}

    def intervals(self, asked: Sequence[str], confidence: float) -> dict[str, Interval]:
        """Return how far they may be off."""
        if self.said is not None:
            names = [name for name in asked if name in CLASSIFICATION]
            return intervals.of_classes(self.truth, self.said, names, confidence)
        names = [name for name in asked if name in REGRESSION]
        return intervals.of_numbers(differences(self.answers, self.truth), names, confidence)

    def rows(self, index: Array) -> Outcome:
        """Pick some."""
        said = None if self.said is None else self.said[index]
        return replace(self, truth=self.truth[index], answers=self.answers[index], said=said)
