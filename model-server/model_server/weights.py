"""`weights.safetensors` and a named architecture become a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import safetensors
from safetensors.torch import load_file

from model_server.architectures import Built, build
from model_server.encoding import decoded
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from pathlib import Path

    from model_server.artefact.card import Card


def load_weights(card: Card, path: Path) -> Built:
    """Build the named architecture with the weights of the file, which must be exactly its own."""
    built = build(card.behind_tokenizer)
    module = built.module
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise ModelError(Reason.INVALID, f"{path} is missing.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(Reason.INVALID, f"{path} is not a safetensors file: {error}.") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    try:
        weights = decoded(weights, wanted)
    except ValueError as error:
        message = f"{path} does not fit the architecture {card.architecture}: {error}."
        raise ModelError(Reason.INVALID, message) from error
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wanted != given:
        differing = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
        first = differing[0]
        message = (
            f"{path} does not fit the architecture {card.architecture}: {first} has the shape"
            f" {_shape(given.get(first))} where {_shape(wanted.get(first))} is needed ({len(differing)} differ)."
        )
        raise ModelError(Reason.INVALID, message)
    wanted_types = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    for name, tensor in weights.items():
        if tensor.is_floating_point() != wanted_types[name].is_floating_point:
            kind = "floating-point numbers" if wanted_types[name].is_floating_point else "integers"
            raise ModelError(Reason.INVALID, f"{path}: {name} is of {tensor.dtype}; it has to be of {kind}.")
    # assign: the module uses the file's pages as they are mapped, instead of a copy
    module.load_state_dict({name: tensor.to(wanted_types[name]) for name, tensor in weights.items()}, assign=True)
    module.eval().requires_grad_(requires_grad=False)
    return built


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(list(shape))
