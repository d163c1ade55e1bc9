"""Every format that `model.json` may name becomes something to call with tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from model_server.architectures import Built
from model_server.artefact.card import Trust, hold_trust
from model_server.errors import ModelError, NeedsNativeError, Reason
from model_server.native import load_exported, load_handler, load_torchscript
from model_server.program.run import dtype_of, load_program
from model_server.protocol.datatypes import DATATYPES, FREE
from model_server.weights import load_weights

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.artefact.card import Card, CardTensor
    from model_server.program.document import Program, ProgramInput


def build_module(card: Card, directory: Path, trust: Trust) -> Built:
    """Load what the card names, as far as the trust reaches."""
    hold_trust(card, trust)
    path = directory / card.file
    match card.format:
        case "safetensors":
            return load_weights(card, path)
        case "pt2":
            return Built(_program(card, path, trust), keeps_datatypes=True)
        case "torchscript":
            return Built(load_torchscript(path), keeps_datatypes=True)
        case "python":
            return Built(load_handler(path), keeps_datatypes=True)


def _program(card: Card, path: Path, trust: Trust) -> torch.nn.Module:
    try:
        program, module = load_program(path)
    except NeedsNativeError:
        if trust is Trust.NATIVE:
            return load_exported(path)
        raise
    if objection := _objection(card, program):
        raise ModelError(Reason.INVALID, f"{path} does not fit model.json: {objection}.")
    return module


def _objection(card: Card, program: Program) -> str | None:
    if len(card.inputs) != len(program.inputs):
        return f"it takes {len(program.inputs)} inputs, not {len(card.inputs)}"
    if len(card.outputs) != len(program.outputs):
        return f"it gives {len(program.outputs)} outputs, not {len(card.outputs)}"
    return next(filter(None, map(_input_objection, card.inputs, program.inputs)), None)


def _input_objection(tensor: CardTensor, traced: ProgramInput) -> str | None:
    sizes = [FREE if size is None else size for size in traced.sizes]
    if sizes[:1] != [FREE]:
        return (
            f"its input {traced.name} has the shape {sizes}, where the number of rows has to be free; export it with"
            " dynamic_shapes"
        )
    if any(size not in (FREE, declared) for declared, size in zip(tensor.shape, sizes, strict=False)) or len(
        tensor.shape
    ) != len(sizes):
        return f"its input {traced.name} has the shape {sizes}, not {list(tensor.shape)}"
    dtype = torch_type(tensor.datatype)
    if dtype_of(traced.dtype) is not dtype:
        return f"its input {traced.name} is of {dtype_of(traced.dtype)}, not {tensor.datatype}"
    return None


def torch_type(datatype: str) -> torch.dtype:
    """Return torch's name for a datatype of the protocol."""
    return torch.from_numpy(np.empty(0, DATATYPES[datatype].dtype)).dtype
