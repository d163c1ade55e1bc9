"""How to train, in torch's words. What contradicts itself is refused."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Literal, get_args

from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from model_server.architectures.architecture import Activation

Loss = Literal["CrossEntropy", "MeanSquaredError", "MeanAbsoluteError", "Huber"]
Optimizer = Literal["SGD", "Adam", "AdamW"]
Schedule = Literal["Constant", "Linear", "Cosine", "Step"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All that the result depends on, beside the data."""

    hidden: tuple[int, ...]
    activation: Activation
    loss: Loss
    optimizer: Optimizer
    learning_rate: float
    epochs: int
    batch_size: int | None
    seed: int
    channels: tuple[int, ...] = ()
    """Of the blocks of a cnn; an mlp without."""
    momentum: float = 0.0
    l1: float = 0.0
    """Added to the loss, times the sum of the weights' sizes; not the biases'."""
    l2: float = 0.0
    """The optimizer's weight decay, on weights alone: in the gradient for SGD and Adam, beside it for AdamW."""
    dropout: float = 0.0
    schedule: Schedule = "Constant"
    warmup: int = 0
    """Epochs in which the learning rate grows to its full size."""
    validation: float = 0.0
    """The share of the rows that is held back, to see when learning turns into learning by heart."""
    patience: int | None = None
    """End after so many epochs without a better validation, and keep the best weights."""
    standardize: bool = False
    """Learn from columns of mean 0 and deviation 1; the model itself takes and gives what the data set has."""
    folds: int = 0

    def __post_init__(self) -> None:
        for wrong in self._contradictions():
            raise ModelError(Reason.INVALID, f"{wrong}.")

    @property
    def is_classification(self) -> bool:
        """Whether what is learned are classes."""
        return self.loss == "CrossEntropy"

    def told(self) -> dict[str, object]:
        """Name what is not the default, for the card."""
        settings = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in settings.items() if default is MISSING or value != default}

    def rate(self, epoch: int) -> float:
        """Say how large the steps of an epoch are."""
        if epoch < self.warmup:
            return self.learning_rate * (epoch + 1) / self.warmup
        progress = (epoch - self.warmup) / max(1, self.epochs - self.warmup)
        match self.schedule:
            case "Constant":
                factor = 1.0
            case "Linear":
                factor = 1 - progress
            case "Cosine":
                factor = (1 + math.cos(math.pi * progress)) / 2
            case "Step":  # a tenth in the second third, a hundredth in the last
                factor = 0.1 ** int(3 * progress)
        return self.learning_rate * factor

    def _contradictions(self) -> list[str]:
        found = []
        if self.patience is not None and not self.validation:
            found.append("--patience looks at the validation; give --validation a share of the rows, such as 0.1")
        if self.momentum and self.optimizer != "SGD":
            found.append(f"--momentum is for SGD; {self.optimizer} has its own")
        if not 0 <= self.validation < 1:
            found.append(f"--validation is a share of the rows, from 0 to below 1, not {self.validation:g}")
        if not 0 <= self.dropout < 1:
            found.append(f"--dropout is a share of the values, from 0 to below 1, not {self.dropout:g}")
        if self.folds == 1 or self.folds < 0:
            found.append(f"--folds divides the rows into 2 or more parts, not {self.folds}")
        if self.standardize and self.channels:
            found.append("--standardize is for tables; give a cnn pixels that are scaled already")
        if self.seed < 0:
            found.append(f"--seed is 0 or above, not {self.seed}")
        if min(self.learning_rate, self.l1, self.l2, self.momentum) < 0 or self.learning_rate == 0:
            found.append("--learning-rate is above 0; --l1, --l2 and --momentum are not below it")
        return found
