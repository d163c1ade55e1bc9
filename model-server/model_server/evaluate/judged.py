"""What an evaluation asks of a model, and a model that it asks in its own process, without a server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias

from model_server.errors import ModelError, Reason
from model_server.evaluate.pace import latencies
from model_server.evaluate.wire import Interface, chosen
from model_server.protocol.datatypes import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.evaluate.pace import Level
    from model_server.protocol.datatypes import Arrays, Signature

Inputs: TypeAlias = Mapping[str, Array]


class Judged(Protocol):
    """A model that can be asked."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def interface(self, output: str) -> Interface:
        """Say what it takes, and which output is looked at."""
        ...

    def takes(self, interface: Interface, inputs: Inputs) -> bool:
        """Tell whether it takes so many rows at once."""
        ...

    def answer(self, interface: Interface, inputs: Inputs) -> Array:
        """Answer some rows."""
        ...

    def seconds(self, interface: Interface, samples: Sequence[Inputs]) -> list[float]:
        """Time one sample after the other."""
        ...

    def levels(self, interface: Interface, samples: Sequence[Inputs]) -> list[Level]:
        """Find how many at once it can take."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model directory that was loaded here. Its times are those of computing alone."""

    name: str
    signature: Signature
    forward: Callable[[Arrays], Arrays]

    def interface(self, output: str) -> Interface:
        """Say what the card says."""
        names = [spec.name for spec in self.signature.outputs]
        return Interface(self.signature.inputs, chosen(output, names), binary=True)

    def takes(self, interface: Interface, inputs: Inputs) -> bool:
        """Take all."""
        del interface, inputs
        return True

    def answer(self, interface: Interface, inputs: Inputs) -> Array:
        """Compute."""
        outputs = self.forward(tuple(inputs[spec.name] for spec in self.signature.inputs))
        return outputs[[spec.name for spec in self.signature.outputs].index(interface.output)]

    def seconds(self, interface: Interface, samples: Sequence[Inputs]) -> list[float]:
        """Time one forward pass after the other."""

        def timed(sample: Inputs) -> float:
            started = time.perf_counter()
            self.answer(interface, sample)
            return time.perf_counter() - started

        return latencies(timed, samples)

    def levels(self, interface: Interface, samples: Sequence[Inputs]) -> NoReturn:
        """Refuse: many at once are a server's business."""
        del interface, samples
        message = "How many requests at once a model can take is measured at its server; give --url and --model."
        raise ModelError(Reason.INVALID, message)

    def close(self) -> None:
        """Need nothing."""
