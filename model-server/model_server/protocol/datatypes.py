"""The protocol's datatypes and the signature that requests are checked against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = tuple[Array, ...]

FREE = -1  # a dimension that each request chooses


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype: its name, its little-endian layout, and what it is in JSON (None: it has no JSON form)."""

    name: str
    dtype: np.dtype[Any]
    json: type[bool | int | float | str] | None


# FP16 has no JSON form in the protocol, only a binary one.
DATATYPES = {
    datatype.name: datatype
    for datatype in (
        Datatype("BOOL", np.dtype("?"), bool),
        *(Datatype(f"INT{bits}", np.dtype(f"<i{bits // 8}"), int) for bits in (8, 16, 32, 64)),
        *(Datatype(f"UINT{bits}", np.dtype(f"<u{bits // 8}"), int) for bits in (8, 16, 32, 64)),
        Datatype("FP16", np.dtype("<f2"), None),
        Datatype("FP32", np.dtype("<f4"), float),
        Datatype("FP64", np.dtype("<f8"), float),
    )
}
BYTES = Datatype("BYTES", np.dtype(object), str)
"""Texts (UTF-8). Only a model behind a tokenizer takes them, and none gives them: torch has no such tensors."""
INPUT_DATATYPES = {**DATATYPES, BYTES.name: BYTES}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named tensor of a model; the first dimension counts rows."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Say whether a tensor of this shape may stand here."""
        return len(shape) == len(self.shape) and all(
            want in (FREE, have) for want, have in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """All that a request may name."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @cached_property
    def input_index(self) -> dict[str, int]:
        """Positions of the inputs by name."""
        return {spec.name: index for index, spec in enumerate(self.inputs)}

    @cached_property
    def output_index(self) -> dict[str, int]:
        """Positions of the outputs by name."""
        return {spec.name: index for index, spec in enumerate(self.outputs)}

    @cached_property
    def has_json_outputs(self) -> bool:
        """Whether all outputs can be told in JSON."""
        return all(spec.datatype.json is not None for spec in self.outputs)
