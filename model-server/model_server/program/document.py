"""What a `.pt2` says, as data: from its JSON to a list of steps over numbered registers. Imports no torch.

The schema is torch's (torch/_export/serde/schema.py, major version 8). What is acted on is typed here, and fields that
are not known are refused: a newer torch may mean something by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from model_server.program.archive import MAX_TEXT_BYTES
from model_server.program.expressions import UnknownExpressionError, check_size, guard, symbol_of
from model_server.program.operators import LEFT_OUT, is_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model_server.program.archive import Archive
    from model_server.program.expressions import Shapes

SCHEMA = 8
_STRIDED = 7  # torch's number of the plain layout
_KEYWORD = 2  # and of an argument that goes by its name
_WEIGHTS = ("parameter", "buffer", "tensor_constant")
# Torch traces 0 and 1 as cases of their own and calls every other size "from 2", but runs the program with 1 as well.
_TRACED_LEAST = 2


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class _Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arg: dict[str, Any]
    kind: int | None = None


class _Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    target: str
    inputs: list[_Argument]
    outputs: list[dict[str, Any]]
    metadata: dict[str, Any]
    is_hop_single_tensor_return: bool | None = None
    name: str | None = None


class _TensorMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: int
    sizes: list[dict[str, Any]]
    requires_grad: bool
    device: dict[str, Any]
    strides: list[dict[str, Any]]
    storage_offset: dict[str, Any]
    layout: int


class _Graph(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    nodes: list[_Node]
    tensor_values: dict[str, _TensorMeta]
    sym_int_values: dict[str, Any]
    sym_bool_values: dict[str, Any]
    is_single_tensor_return: bool = False
    custom_obj_values: dict[str, Any] = {}
    sym_float_values: dict[str, Any] = {}


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input_specs: list[dict[str, dict[str, Any]]]
    output_specs: list[dict[str, dict[str, Any]]]


class _GraphModule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    graph: _Graph
    signature: _Signature
    module_call_graph: list[Any]
    metadata: dict[str, Any] = {}
    treespec_namedtuple_fields: dict[str, Any] = {}


class _Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    min_val: int | None
    max_val: int | None


class _Version(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    major: int
    minor: int


class _Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    graph_module: _GraphModule
    opset_version: dict[str, int]
    range_constraints: dict[str, _Range]
    schema_version: _Version
    verifiers: list[str] = []
    torch_version: str = ""
    guards_code: list[str] = []


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path_name: str
    is_param: bool
    use_pickle: bool
    tensor_meta: _TensorMeta | None = None


class _Payloads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    config: dict[str, _Payload]


# What an argument may be; with an s behind it, a list of them. Not among them: graphs, objects, operators.
_KINDS: dict[str, Any] = {
    "as_none": bool,
    "as_name": str,
    "as_tensor": _Name,
    "as_optional_tensor": dict[str, Any],
    "as_int": int,
    "as_float": float | Literal["Infinity", "-Infinity", "NaN"],
    "as_bool": bool,
    "as_string": str,
    "as_sym_int": dict[str, Any],
    "as_sym_float": dict[str, Any],
    "as_sym_bool": dict[str, Any],
    "as_scalar_type": int,
    "as_memory_format": int,
    "as_layout": int,
    "as_device": dict[str, Any],
}


@dataclass(frozen=True, slots=True)
class Register:
    """An argument that an earlier step, a weight or an input gives."""

    index: int


@dataclass(frozen=True, slots=True)
class Meant:
    """An argument that is one of torch's own words: the kind of word, and its number in the schema."""

    kind: str
    number: int


Value: TypeAlias = "Register | Meant | float | str | bool | tuple[Value, ...] | None"


@dataclass(frozen=True, slots=True)
class Step:
    """One call: of an operator, with registers and constants, into registers."""

    target: str
    arguments: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]
    outputs: tuple[int, ...]
    is_spread: bool
    """Whether the operator's answer is a sequence, of which each output takes one."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a weight lies in the archive, in elements."""

    name: str
    entry: str
    dtype: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class ProgramInput:
    """An input: the number of its datatype, and its sizes (None: free)."""

    name: str
    dtype: int
    sizes: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Guard:
    """What the shapes of the inputs have to keep: the program was not traced for others, and would answer wrongly."""

    text: str
    holds: Callable[[Shapes], bool]


@dataclass(frozen=True, slots=True)
class Program:
    """All that is needed to run it."""

    inputs: tuple[ProgramInput, ...]
    weights: tuple[StoredTensor, ...]
    """They fill the first registers, the inputs those behind them."""
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    registers: int
    guards: tuple[Guard, ...]


def read_program(archive: Archive) -> Program:
    """Read a program, or refuse it with the reason."""
    archive.check_known()
    archive.check_sample_inputs()
    models = archive.names(r"models/.*")
    if len(models) != 1:
        raise archive.refused(f"it has {len(models)} models; one is served")
    if archive.read("archive_format") != b"pt2":
        raise archive.broken("its archive_format is not pt2")
    if archive.names("byteorder") and archive.read("byteorder") != b"little":
        raise archive.broken("its numbers are not little-endian")
    try:
        return _Reader(archive, models[0]).program()
    except RecursionError:
        raise archive.refused("its schema is nested too deep") from None


class _Reader:
    """Turns names into registers while it goes through a document."""

    def __init__(self, archive: Archive, model: str) -> None:
        self._archive = archive
        document = self._decoded(model)
        for expression in _expressions(document):
            try:
                check_size(expression)
            except UnknownExpressionError as error:
                raise archive.refused(f"the expression {str(error)!r} is not one of sizes") from None
        self._program: _Program = self._typed(document, _Program, model)
        if self._program.schema_version.major != SCHEMA:
            found = self._program.schema_version.major
            raise archive.refused(f"its schema has the version {found}; this server reads {SCHEMA}")
        self._payloads = self._read_payloads(model.removeprefix("models/").removesuffix(".json"))
        self._registers: dict[str, int] = {}

    def program(self) -> Program:
        graph = self._program.graph_module.graph
        weights: list[StoredTensor] = []
        names: list[str] = []
        inputs: list[ProgramInput] = []
        for spec in self._program.graph_module.signature.input_specs:
            kind, found = self._only(spec)
            if kind == "user_input":
                inputs.append(self._input(found.get("arg", {})))
            elif kind in _WEIGHTS:
                weights.append(self._stored(str(found.get(f"{kind}_name"))))
                names.append(self._typed(found.get("arg"), _Name, kind).name)
            else:
                raise self._archive.refused(f"it takes an input of the kind {kind}; only tensors can be given")
        for name in (*names, *(each.name for each in inputs)):
            self._new(name)
        steps = tuple(self._step(node) for node in graph.nodes if node.target != LEFT_OUT)
        outputs = tuple(self._output(spec) for spec in self._program.graph_module.signature.output_specs)
        return Program(
            inputs=tuple(inputs),
            weights=tuple(weights),
            steps=steps,
            outputs=outputs,
            registers=len(self._registers),
            guards=(*self._ranges(inputs), *self._guards(inputs)),
        )

    def _decoded(self, name: str) -> Any:  # noqa: ANN401  # JSON
        try:
            return msgspec.json.decode(self._archive.read(name, MAX_TEXT_BYTES))
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._archive.broken(f"{name} is no JSON ({error})") from error

    def _typed(self, value: object, of: Any, where: str) -> Any:  # noqa: ANN401  # a type, and a value of it
        try:
            return msgspec.convert(value, of)
        except (msgspec.ValidationError, RecursionError) as error:
            raise self._archive.refused(f"{where} is not of the schema that this server knows ({error})") from error

    def _only(self, union: dict[str, Any]) -> tuple[str, Any]:
        """Take the one member that a union has."""
        if len(union) != 1:
            raise self._archive.broken(f"a union of its schema has {len(union)} members instead of one")
        return next(iter(union.items()))

    def _read_payloads(self, model: str) -> dict[str, tuple[str, _Payload]]:
        found: dict[str, tuple[str, _Payload]] = {}
        for folder, config in (
            ("data/weights", f"{model}_weights_config.json"),
            ("data/constants", f"{model}_constants_config.json"),
        ):
            payloads: _Payloads = self._typed(self._decoded(f"{folder}/{config}"), _Payloads, config)
            found |= {name: (f"{folder}/{each.path_name}", each) for name, each in payloads.config.items()}
        for name, (_, payload) in found.items():
            if payload.use_pickle or payload.tensor_meta is None:
                raise self._archive.refused(f"its tensor {name!r} is pickled")
        return found

    def _stored(self, name: str) -> StoredTensor:
        entry, payload = self._payloads.get(name, ("", None))
        if payload is None or payload.tensor_meta is None:
            raise self._archive.broken(f"it lacks the tensor {name!r}")
        meta = payload.tensor_meta
        numbers = [_fixed(each) for each in (*meta.sizes, *meta.strides, meta.storage_offset)]
        if meta.layout != _STRIDED or len(meta.sizes) != len(meta.strides) or any(number is None for number in numbers):
            raise self._archive.refused(f"its tensor {name!r} has no plain shape")
        plain = tuple(number for number in numbers if number is not None)
        rank = len(meta.sizes)
        return StoredTensor(name, entry, meta.dtype, plain[:rank], plain[rank:-1], plain[-1])

    def _input(self, argument: dict[str, Any]) -> ProgramInput:
        kind, found = self._only(argument)
        name = self._typed(found, _Name, kind).name if kind == "as_tensor" else None
        meta = self._program.graph_module.graph.tensor_values.get(name) if name else None
        if name is None or meta is None:
            raise self._archive.refused(f"it takes an input of the kind {kind}; only tensors can be given")
        return ProgramInput(name, meta.dtype, tuple(_fixed(size) for size in meta.sizes))

    def _output(self, spec: dict[str, dict[str, Any]]) -> int:
        kind, found = self._only(spec)
        if kind != "user_output":
            raise self._archive.refused(f"it has an output of the kind {kind}; a served model keeps no state")
        kind, tensor = self._only(found.get("arg", {}))
        if kind != "as_tensor":
            raise self._archive.refused(f"it gives an output of the kind {kind}; only tensors can be answered")
        return self._old(self._typed(tensor, _Name, kind).name)

    def _step(self, node: _Node) -> Step:
        if not is_allowed(node.target):
            raise self._archive.refused(f"it calls {node.target!r}, which is not among the operators allowed here")
        arguments = [(each.name, each.kind, self._value(each.arg)) for each in node.inputs]
        positional = tuple(value for _, kind, value in arguments if kind != _KEYWORD)
        keywords = tuple((name, value) for name, kind, value in arguments if kind == _KEYWORD)
        kinds = [self._only(output) for output in node.outputs]
        if [kind for kind, _ in kinds] == ["as_tensors"]:
            names = [each.name for each in self._typed(kinds[0][1], list[_Name], "a list of outputs")]
            return Step(node.target, positional, keywords, tuple(map(self._new, names)), is_spread=True)
        names = [self._output_name(kind, found) for kind, found in kinds if kind != "as_none"]
        return Step(node.target, positional, keywords, tuple(map(self._new, names)), is_spread=len(kinds) > 1)

    def _output_name(self, kind: str, found: object) -> str:
        if kind == "as_tensor":
            return str(self._typed(found, _Name, kind).name)
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            return str(self._typed(found, dict[str, str], kind).get("as_name", ""))
        raise self._archive.refused(f"a step has an output of the kind {kind}, which is not known here")

    def _value(self, argument: dict[str, Any]) -> Value:
        kind, found = self._only(argument)
        if kind not in _KINDS and kind.removesuffix("s") in _KINDS:
            return tuple(self._one(kind.removesuffix("s"), each) for each in self._typed(found, list[Any], kind))
        return self._one(kind, found)

    def _one(self, kind: str, found: object) -> Value:
        if kind not in _KINDS:
            raise self._archive.refused(f"a step has an argument of the kind {kind}, which is not known here")
        value = self._typed(found, _KINDS[kind], kind)
        match kind:
            case "as_none":
                return None
            case "as_tensor" | "as_name":
                return Register(self._old(value if isinstance(value, str) else value.name))
            case "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
                return self._value(value)
            case "as_float":
                return float(value)
            case "as_scalar_type" | "as_memory_format" | "as_layout":
                return Meant(kind, value)
            case "as_device":
                return Meant(kind, 0)  # wherever it was exported: here it runs where the server says
        return value  # type: ignore[no-any-return]  # a constant

    def _new(self, name: str) -> int:
        if name in self._registers:
            raise self._archive.broken(f"it gives the name {name!r} twice")
        return self._registers.setdefault(name, len(self._registers))

    def _old(self, name: str) -> int:
        if name not in self._registers:
            raise self._archive.broken(f"it uses {name!r} before it is there")
        return self._registers[name]

    def _ranges(self, inputs: list[ProgramInput]) -> Iterator[Guard]:
        """Hold the bounds of sizes that the exporter declared."""
        values = self._program.graph_module.graph.tensor_values
        for index, each in enumerate(inputs):
            for dimension, size in enumerate(values[each.name].sizes):
                symbol = symbol_of(str(size.get("as_expr", {}).get("expr_str", "")))
                bounds = self._program.range_constraints.get(symbol or "")
                if bounds is not None:
                    yield from _bounds(each.name, index, dimension, bounds)

    def _guards(self, inputs: list[ProgramInput]) -> Iterator[Guard]:
        """Hold what the exporter assumed about sizes."""
        positions = {each.name: index for index, each in enumerate(inputs)}
        for text in self._program.guards_code:
            try:
                yield Guard(text, guard(text, positions))
            except UnknownExpressionError as error:
                raise self._archive.refused(f"its guard {str(error)!r} is not one of sizes") from None


def _bounds(name: str, index: int, dimension: int, bounds: _Range) -> Iterator[Guard]:
    least, most = bounds.min_val, bounds.max_val
    if least is not None and least > _TRACED_LEAST:
        yield Guard(f"{name}.size()[{dimension}] >= {least}", lambda shapes: shapes[index][dimension] >= least)
    if most is not None:
        yield Guard(f"{name}.size()[{dimension}] <= {most}", lambda shapes: shapes[index][dimension] <= most)


def _fixed(size: dict[str, Any]) -> int | None:
    """Return a size that is a number, and a sound one."""
    number = size.get("as_int")
    return number if isinstance(number, int) and number >= 0 else None


def _expressions(document: object) -> Iterator[str]:
    """Find every expression of the document, wherever it stands."""
    waiting = [document]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "expr_str" in found:
                yield str(found["expr_str"])
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
