"""A program becomes a torch module: its steps in a loop, its weights as buffers. Only this part imports torch.

A loop over registers, not generated code: nothing that an archive says is ever compiled. It costs 0.3 µs per step, and
saves the guards and the pytrees of `ExportedProgram.module()`.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from model_server.errors import ModelError, Reason, RequestError
from model_server.program.archive import Archive
from model_server.program.document import Meant, Register, read_program
from model_server.program.operators import SIZES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.program.document import Program, Step, StoredTensor, Value

OLDEST = (2, 10)

_DTYPES: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
    28: torch.uint16,
}
_WORDS: dict[str, dict[int, object]] = {
    "as_scalar_type": dict(_DTYPES),
    "as_memory_format": {
        1: torch.contiguous_format,
        2: torch.channels_last,
        3: torch.channels_last_3d,
        4: torch.preserve_format,
    },
    "as_layout": {7: torch.strided},
    "as_device": {0: torch.device("cpu")},
}
_MODULES = {"_operator": operator, "torch": torch, "math": math}


@dataclass(frozen=True, slots=True)
class _Call:
    """A step, made ready: `arguments` takes them out of the registers."""

    function: Callable[..., Any]
    arguments: Callable[[list[Any]], tuple[Any, ...]]
    keywords: Callable[[list[Any]], dict[str, Any]] | None
    output: int | None
    spread: tuple[int, ...]
    dead: tuple[int, ...]
    """Registers that nothing reads any more: memory for the steps that follow."""


class ProgramModule(torch.nn.Module):
    """Runs a program; its weights are buffers, so that `to` changes their datatype as of any module."""

    def __init__(self, program: Program, weights: list[torch.Tensor], calls: tuple[_Call, ...]) -> None:
        super().__init__()
        self._program = program
        self._calls = calls
        self._others = [None] * (program.registers - len(weights) - len(program.inputs))
        for index, weight in enumerate(weights):
            self.register_buffer(f"weight_{index}", weight)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Go through all steps."""
        if self._program.guards:
            self._hold_guards([tensor.shape for tensor in inputs])
        registers: list[Any] = [*self._buffers.values(), *inputs, *self._others]
        for call in self._calls:
            arguments = call.arguments(registers)
            answer = (
                call.function(*arguments, **call.keywords(registers)) if call.keywords else call.function(*arguments)
            )
            if call.output is not None:
                registers[call.output] = answer
            for index, part in zip(call.spread, answer if call.spread else (), strict=True):
                registers[index] = part
            for index in call.dead:
                registers[index] = None
        return tuple(registers[index] for index in self._program.outputs)

    @torch.no_grad()
    def hold_still(self, *inputs: torch.Tensor) -> None:
        """Refuse a program that writes to its weights: what one client sends must not reach the next."""
        before = [buffer._version for buffer in self._weights()]  # noqa: SLF001  # torch's own count of writes
        self(*inputs)
        changed = [index for index, weight in enumerate(self._weights()) if weight._version != before[index]]  # noqa: SLF001
        if changed:
            name = self._program.weights[changed[0]].name
            message = f"The program changes its tensor {name!r} while it runs; a served model keeps no state."
            raise ModelError(Reason.INVALID, message)

    def _weights(self) -> list[torch.Tensor]:
        return [buffer for buffer in self._buffers.values() if buffer is not None]

    def _hold_guards(self, shapes: list[torch.Size]) -> None:
        for guard in self._program.guards:
            if not guard.holds(shapes):
                shown = ", ".join(str(list(shape)) for shape in shapes)
                message = f"Inputs of the shapes {shown} do not fit: the model was exported for {guard.text}."
                raise RequestError(400, message)


def load_program(path: Path) -> tuple[Program, ProgramModule]:
    """Read a program and make it ready to run."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < OLDEST:
        message = (
            f"{path} needs torch {OLDEST[0]}.{OLDEST[1]} or newer to be served; this server has {torch.__version__}."
        )
        raise ModelError(Reason.INVALID, message)
    with Archive.open(path) as archive:
        program = read_program(archive)
        contents: dict[str, torch.Tensor] = {}
        weights = [_tensor(stored, archive, contents) for stored in program.weights]
        last_use = _last_uses(program)
        calls = tuple(_call(step, archive, last_use[index]) for index, step in enumerate(program.steps))
    return program, ProgramModule(program, weights, calls)


def dtype_of(number: int) -> torch.dtype | None:
    """Return the datatype that the schema gives a number."""
    return _DTYPES.get(number)


def _tensor(stored: StoredTensor, archive: Archive, contents: dict[str, torch.Tensor]) -> torch.Tensor:
    """Make a tensor; those of one entry share its memory, as they did when they were exported."""
    dtype = _DTYPES.get(stored.dtype)
    if dtype is None:
        raise archive.refused(f"its tensor {stored.name!r} has the datatype {stored.dtype}, which is not known here")
    if stored.entry not in contents:
        content = bytearray(archive.read(stored.entry))
        contents[stored.entry] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0).byte()
    raw = contents[stored.entry]
    reach = (
        stored.offset + sum((size - 1) * stride for size, stride in zip(stored.sizes, stored.strides, strict=True)) + 1
    )
    needed = 0 if 0 in stored.sizes else reach
    if needed * dtype.itemsize > len(raw):
        raise archive.broken(f"its tensor {stored.name!r} reaches past its {len(raw):,} bytes")
    whole = raw[: len(raw) // dtype.itemsize * dtype.itemsize].view(dtype)
    return whole.as_strided(stored.sizes, stored.strides, stored.offset if needed else 0)


def _call(step: Step, archive: Archive, dead: tuple[int, ...]) -> _Call:
    keywords = dict(step.keywords)
    return _Call(
        function=_function(step.target, archive),
        arguments=_taken(tuple(_made(value, archive) for value in step.arguments)),
        keywords=_taken_by_name({name: _made(value, archive) for name, value in keywords.items()})
        if keywords
        else None,
        output=None if step.is_spread or not step.outputs else step.outputs[0],
        spread=step.outputs if step.is_spread else (),
        dead=dead,
    )


def _function(target: str, archive: Archive) -> Callable[..., Any]:
    """Look up an operator that is on the list of allowed ones."""
    if target in SIZES:
        module, _, name = target.rpartition(".")
        return getattr(_MODULES[module], name)  # type: ignore[no-any-return]
    name, overload = target.removeprefix("torch.ops.aten.").split(".")
    try:
        return getattr(getattr(torch.ops.aten, name), overload)  # type: ignore[no-any-return]
    except AttributeError:
        raise archive.refused(f"it calls {target!r}, which torch {torch.__version__} does not have") from None


def _made(value: Value, archive: Archive) -> Any:  # noqa: ANN401  # what torch's operators take
    """Put torch's own words in place of their numbers."""
    if isinstance(value, tuple):
        return tuple(_made(each, archive) for each in value)
    if isinstance(value, Meant):
        if value.number not in _WORDS[value.kind]:
            raise archive.refused(f"a step has the {value.kind} {value.number}, which is not known here")
        return _WORDS[value.kind][value.number]
    return value


def _taken(values: tuple[Any, ...]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """Return what takes the arguments out of the registers, in the cheapest way."""
    if all(isinstance(value, Register) for value in values) and len(values) > 1:
        return operator.itemgetter(*(value.index for value in values))
    if not any(map(_has_register, values)):
        return lambda _registers: values
    takers = tuple(map(_taker, values))
    return lambda registers: tuple([take(registers) for take in takers])


def _taken_by_name(values: dict[str, Any]) -> Callable[[list[Any]], dict[str, Any]]:
    if not any(map(_has_register, values.values())):
        return lambda _registers: values
    takers = {name: _taker(value) for name, value in values.items()}
    return lambda registers: {name: take(registers) for name, take in takers.items()}


def _taker(value: Any) -> Callable[[list[Any]], Any]:  # noqa: ANN401
    if isinstance(value, Register):
        return operator.itemgetter(value.index)
    if _has_register(value):
        takers = tuple(map(_taker, value))
        return lambda registers: [take(registers) for take in takers]
    return lambda _registers: value


def _has_register(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Register) or (isinstance(value, tuple) and any(map(_has_register, value)))


def _last_uses(program: Program) -> list[tuple[int, ...]]:
    """Say for each step which registers it is the last to use; weights stay, and so do outputs."""
    kept = {*range(len(program.weights)), *program.outputs}
    last: dict[int, int] = {}
    for index, step in enumerate(program.steps):
        used = {*step.outputs}
        for value in (*step.arguments, *(value for _, value in step.keywords)):
            used |= _registers_in(value)
        last |= dict.fromkeys(used - kept, index)
    dead: list[list[int]] = [[] for _ in program.steps]
    for register, index in last.items():
        dead[index].append(register)
    return [tuple(each) for each in dead]


def _registers_in(value: Value) -> set[int]:
    if isinstance(value, Register):
        return {value.index}
    return set().union(*map(_registers_in, value)) if isinstance(value, tuple) else set()
