"""Weights in fewer bytes, in the same safetensors: halves, integers with a scale for each row, without their zeros.

`NAME.values` has the numbers, `NAME.scale` (INT8) what each row of them is multiplied by, `NAME.kept` a bit for each
weight that is not left out as zero. A weight under its own name is not encoded. They are decoded when the model is
loaded, so that the size of the artefact says nothing about what it computes in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Tensors = Mapping[str, torch.Tensor]

Numbers = Literal["FP32", "BF16", "INT8"]
VALUES, SCALE, KEPT = ".values", ".scale", ".kept"
_LARGEST = 127
_WORTH_A_MASK = 0.5  # of the weights of a matrix are zero


def encoded(weights: Tensors, numbers: Numbers) -> dict[str, torch.Tensor]:
    """Encode the matrices; vectors (biases, norms) are few and stay as they are."""
    found: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if weight.is_floating_point() and weight.ndim > 1:
            found |= _encoded(name, weight.float(), numbers)
        else:
            found[name] = weight
    return found


def decoded(given: Tensors, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return the weights under their own names, or raise ValueError."""
    plain = {name: tensor for name, tensor in given.items() if not name.endswith((VALUES, SCALE, KEPT))}
    for name in _encoded_names(given):
        if name in plain or name not in wanted or name + VALUES not in given:
            message = f"{name} is encoded, but has no values, or is there twice, or is none of its weights"
            raise ValueError(message)
        plain[name] = _decoded(name, given, wanted[name])
    return plain


def _encoded_names(given: Tensors) -> Iterator[str]:
    names = (name.rpartition(".")[0] for name in given if name.endswith((VALUES, SCALE, KEPT)))
    yield from dict.fromkeys(names)


def _encoded(name: str, weight: torch.Tensor, numbers: Numbers) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    values = weight
    if numbers == "INT8":
        scale = weight.flatten(1).abs().amax(1) / _LARGEST
        scale[scale == 0] = 1.0
        found[name + SCALE] = scale
        values = (weight / _by_row(scale, weight)).round().to(torch.int8)
    elif numbers == "BF16":
        values = weight.bfloat16()
    kept = values != 0
    if kept.float().mean() <= _WORTH_A_MASK:
        found[name + KEPT] = torch.from_numpy(np.packbits(kept.numpy().reshape(-1)))
        values = values[kept]
    if not found and numbers == "FP32":
        return {name: weight}
    return {**found, name + VALUES: values.contiguous()}


def _decoded(name: str, given: Tensors, shape: tuple[int, ...]) -> torch.Tensor:
    values = given[name + VALUES]
    if name + KEPT in given:
        count = int(np.prod(shape))
        if given[name + KEPT].dtype is not torch.uint8:
            message = f"{name} has a mask that is not of bits"
            raise ValueError(message)
        kept = torch.from_numpy(np.unpackbits(given[name + KEPT].numpy().reshape(-1))[:count].astype(np.bool_))
        if len(kept) != count or values.shape != (int(kept.sum()),):
            message = f"{name} keeps another number of values than it has"
            raise ValueError(message)
        spread = torch.zeros(count, dtype=values.dtype)
        spread[kept] = values
        values = spread.view(shape)
    if values.shape != shape:
        message = f"{name} has values of the shape {list(values.shape)} where {list(shape)} is needed"
        raise ValueError(message)
    if name + SCALE not in given:
        return values.float()
    scale = given[name + SCALE]
    if values.dtype is not torch.int8 or scale.shape != shape[:1] or not scale.is_floating_point():
        message = f"{name} has a scale that does not fit: INT8 has one number for each row"
        raise ValueError(message)
    return values.float() * _by_row(scale.float(), values)


def _by_row(scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return scale.view(-1, *[1] * (weight.ndim - 1))
