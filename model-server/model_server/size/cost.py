"""What a forward pass does, step by step, as torch's dispatcher sees it, whatever the format of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode  # as torch's own flop counter does
from torch.utils.flop_counter import flop_registry

from model_server.size.hardware import CONVOLUTIONS, POOLING, PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FREE = (torch.ops.aten._unsafe_view, torch.ops.aten.empty, torch.ops.aten.detach)  # noqa: SLF001
_LOOKS_UP = torch.ops.aten.embedding  # reads no more than it writes


class Step(NamedTuple):
    """One operator."""

    kind: str
    operations: int
    values: int
    """Read and written."""


@dataclass
class Cost:
    """All steps of one pass."""

    steps: list[Step] = field(default_factory=list)
    peak_values: int = 0
    """Of the tensors that there are at once, inputs and weights not counted."""

    @property
    def operations(self) -> int:
        """Of all steps."""
        return sum(step.operations for step in self.steps)


def cost_of(work: Callable[[], object]) -> Cost:
    """Run it and watch."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # what is one step then has no count of its operations
    try:
        with torch.no_grad(), _Watch() as watch:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    found: Cost = watch.cost
    return found


class _Held:
    """The memory of one tensor and of all views of it."""

    def __init__(self, watch: _Watch, values: int) -> None:
        self._watch, self._values = watch, values
        watch.held += values
        watch.cost.peak_values = max(watch.cost.peak_values, watch.held)

    def __del__(self) -> None:
        self._watch.held -= self._values


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cost = Cost()
        self.held = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func._overloadpacket not in flop_registry:  # noqa: SLF001
            with self:  # what is made of other operators counts as those
                made_of = func.decompose(*args, **(kwargs or {}))
            if made_of is not NotImplemented:
                return made_of
        out = func(*args, **(kwargs or {}))
        operator = func._overloadpacket  # noqa: SLF001
        given, made = list(_tensors((args, kwargs))), list(_tensors(out))
        if func.is_view or operator in _FREE:
            held = [each.held for each in given if hasattr(each, "held")]
            for each in made:
                each.held = held
            return out
        count = flop_registry.get(operator)
        written = sum(each.numel() for each in made)
        read = written if operator is _LOOKS_UP else sum(each.numel() for each in given)
        operations = int(count(*args, **(kwargs or {}), out_val=out)) if count else 0
        kind = CONVOLUTIONS if "convolution" in str(operator) else PRODUCTS
        if "pool" in str(operator):  # each value that goes in is looked at once; windows seldom overlap
            kind, operations = POOLING, read
        self.cost.steps.append(Step(kind, operations, read + written))
        for each in made:
            if not any(each is one for one in given):  # in place: nothing new
                each.held = _Held(self, each.numel())
        return out


def _tensors(value: object) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
