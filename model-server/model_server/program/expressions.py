"""Shapes and guards of a program: Python's syntax, of which only arithmetic on sizes is known; none of it is evaluated.

torch writes a size as "FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2))" and what it assumed while it
traced, a guard, as "L['x'].size()[0] % 2 == 0".
"""

from __future__ import annotations

import ast
import operator
import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Shapes: TypeAlias = "Sequence[Sequence[int]]"
Number: TypeAlias = "Callable[[Shapes], int]"

_LONGEST = 4096
_SYMBOL = re.compile(r"z?[su][a-z]?[0-9]{1,9}")
_ASSUMPTIONS = {"integer", "positive", "nonnegative", "negative", "nonzero", "real", "finite"}
_WORDS = """
Symbol Integer Rational Add Mul Pow Mod Max Min Abs FloorDiv CleanDiv CeilDiv CeilToInt FloorToInt TruncToInt PythonMod
ModularIndexing IntTrueDiv ToFloat PowByNatural Identity Piecewise Where And Or Not true false Eq Ne Equality Unequality
GreaterThan LessThan StrictGreaterThan StrictLessThan
"""
_FUNCTIONS = frozenset(_WORDS.split())
_ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class UnknownExpressionError(ValueError):
    """The expression has something in it that sizes do not need."""


def check_size(text: str) -> None:
    """Raise unless the expression is one of sizes; it is not needed to run a program, but tells of tampering."""
    if not all(map(_is_harmless, ast.walk(_parsed(text)))):
        raise UnknownExpressionError(text)


def _is_harmless(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in _FUNCTIONS
        case ast.Name(id=name):
            return name in _FUNCTIONS or _SYMBOL.fullmatch(name) is not None
        case ast.Constant(value=str() as name):
            return _SYMBOL.fullmatch(name) is not None
        case ast.Constant(value=value):
            return isinstance(value, int)
        case ast.keyword(arg=name):
            return name in _ASSUMPTIONS
    return isinstance(node, ast.Expression | ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop | ast.expr_context)


def symbol_of(text: str) -> str | None:
    """Return the symbol of a size that is one, in either of torch's notations."""
    found = re.fullmatch(rf"(?:Symbol\('({_SYMBOL.pattern})'[^)]*\)|({_SYMBOL.pattern}))", text)
    return None if found is None else found[1] or found[2]


def guard(text: str, positions: Mapping[str, int]) -> Callable[[Shapes], bool]:
    """Return the test of a guard; `positions` says which input has which name."""
    return _test(_parsed(text).body, positions, text)


def _parsed(text: str) -> ast.Expression:
    if len(text) > _LONGEST:
        raise UnknownExpressionError(f"{text[:80]}…")
    try:
        return ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnknownExpressionError(text) from error


def _test(node: ast.expr, positions: Mapping[str, int], text: str) -> Callable[[Shapes], bool]:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            tests = [_test(value, positions, text) for value in values]
            return lambda shapes: all(test(shapes) for test in tests)
        case ast.BoolOp(op=ast.Or(), values=values):
            tests = [_test(value, positions, text) for value in values]
            return lambda shapes: any(test(shapes) for test in tests)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            test = _test(operand, positions, text)
            return lambda shapes: not test(shapes)
        case ast.Compare(left=left, ops=[comparison], comparators=[right]) if type(comparison) in _COMPARISONS:
            compare = _COMPARISONS[type(comparison)]
            one, other = _number(left, positions, text), _number(right, positions, text)
            return lambda shapes: compare(one(shapes), other(shapes))
    raise UnknownExpressionError(text)


def _number(node: ast.expr, positions: Mapping[str, int], text: str) -> Number:
    match node:
        case ast.Constant(value=int() as value):
            return lambda _shapes: value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            number = _number(operand, positions, text)
            return lambda shapes: -number(shapes)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _ARITHMETIC:
            combine = _ARITHMETIC[type(operation)]
            one, other = _number(left, positions, text), _number(right, positions, text)
            return lambda shapes: combine(one(shapes), other(shapes))
        case ast.Subscript(
            value=ast.Call(func=ast.Attribute(value=tensor, attr="size"), args=[], keywords=[]),
            slice=ast.Constant(value=int() as dimension),
        ):
            index = _input(tensor, positions, text)
            return lambda shapes: shapes[index][dimension]
    raise UnknownExpressionError(text)


def _input(node: ast.expr, positions: Mapping[str, int], text: str) -> int:
    """Find the input that `L['batch']['ids']` means: torch names it `batch_ids`."""
    path: list[str] = []
    while isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        path.insert(0, str(node.slice.value))
        node = node.value
    name = "_".join(path)
    if not isinstance(node, ast.Name) or node.id != "L" or name not in positions:
        raise UnknownExpressionError(text)
    return positions[name]
