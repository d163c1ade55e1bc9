"""`model-server inspect`: what a model directory holds, told without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import safetensors

from model_server.artefact.card import WEIGHTS, Card, CardTensor, read_card
from model_server.artefact.digest import Content, content_of
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Description:
    """All that there is to say."""

    name: str
    card: Card
    parameters: int
    content: Content


def describe(directory: Path) -> Description:
    """Read the card, the weights' header, and every byte once for the digest."""
    if not directory.is_dir():
        raise ModelError(Reason.NOT_FOUND, f"{directory} is not a directory.")
    card = read_card(directory)
    return Description(directory.resolve().name, card, _count_parameters(directory / WEIGHTS), content_of(directory))


def as_json(told: Description) -> dict[str, object]:
    """Write it for programs."""
    return {
        "name": told.name,
        "architecture": told.card.architecture,
        "architecture_parameters": told.card.parameters,
        "inputs": [_tensor(tensor) for tensor in told.card.inputs],
        "outputs": [_tensor(tensor) for tensor in told.card.outputs],
        "parameters": told.parameters,
        "bytes": told.content.size_bytes,
        "digest": told.content.digest,
    }


def as_text(told: Description) -> str:
    """Write it for people."""
    settings = ", ".join(f"{key} {value}" for key, value in told.card.parameters.items())
    rows = [
        ("name", told.name),
        ("architecture", f"{told.card.architecture} ({settings})"),
        *(("input", _line(tensor)) for tensor in told.card.inputs),
        *(("output", _line(tensor)) for tensor in told.card.outputs),
        ("parameters", f"{told.parameters:,}"),
        ("size", f"{told.content.size_bytes:,} bytes in {told.content.files} files"),
        ("digest", told.content.digest),
    ]
    return "\n".join(f"{key:<13} {value}" for key, value in rows)


def _count_parameters(path: Path) -> int:
    try:
        with safetensors.safe_open(path, framework="numpy") as weights:
            names = weights.keys()
            return sum(math.prod(weights.get_slice(name).get_shape()) for name in names)
    except FileNotFoundError:
        raise ModelError(Reason.INVALID, f"{path} is missing.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(Reason.INVALID, f"{path} is not a safetensors file: {error}.") from error


def _tensor(tensor: CardTensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _line(tensor: CardTensor) -> str:
    return f"{tensor.name} {tensor.datatype} {list(tensor.shape)}"
