"""`model-server inspect`: what a model directory holds, told without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import safetensors

from model_server.artefact.card import Card, CardTensor, Trust, hold_trust, read_card
from model_server.artefact.digest import Content, content_of
from model_server.artefact.signature import SIGNATURE, hold_signature
from model_server.errors import ModelError, NeedsNativeError, Reason
from model_server.program.archive import Archive
from model_server.program.document import read_program

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Description:
    """All that there is to say."""

    name: str
    card: Card
    parameters: int | None
    """None where only running it would tell."""
    objection: str | None
    """Why Data is not enough trust to serve it."""
    content: Content
    is_signed: bool
    signed_with: str | None
    """The trusted key, where that was to be checked."""

    @property
    def trust(self) -> Trust:
        """What `spec.model.trust` has to be."""
        return Trust.DATA if self.objection is None else Trust.NATIVE


def describe(directory: Path, trusted_keys: Path | None = None) -> Description:
    """Read the card, the weights' header, and every byte once for the digest; hold the signature against the keys."""
    if not directory.is_dir():
        raise ModelError(Reason.NOT_FOUND, f"{directory} is not a directory.")
    card = read_card(directory)
    parameters, objection = None, None
    try:
        hold_trust(card, Trust.DATA)
        parameters = _count_parameters(card, directory / card.file)
    except NeedsNativeError as error:
        objection = error.message
    return Description(
        directory.resolve().name,
        card,
        parameters,
        objection,
        content_of(directory),
        (directory / SIGNATURE).is_file(),
        hold_signature(directory, trusted_keys) if trusted_keys else None,
    )


def as_json(told: Description) -> dict[str, object]:
    """Write it for programs."""
    return {
        "name": told.name,
        "format": told.card.format,
        "trust": told.trust,
        "trust_reason": told.objection,
        "architecture": told.card.architecture,
        "architecture_parameters": told.card.parameters,
        "inputs": [_tensor(tensor) for tensor in told.card.inputs],
        "outputs": [_tensor(tensor) for tensor in told.card.outputs],
        "parameters": told.parameters,
        "bytes": told.content.size_bytes,
        "digest": told.content.digest,
        "is_signed": told.is_signed,
        "signed_with": told.signed_with,
        "description": told.card.description,
        "preprocessing": told.card.preprocessing,
        "training": told.card.training,
        "evaluation": told.card.evaluation,
    }


def as_text(told: Description) -> str:
    """Write it for people."""
    return "\n".join(f"{key:<13} {value}" for key, value in as_rows(told))


def as_rows(told: Description, *, of_files: bool = True) -> list[tuple[str, str]]:
    """Name one thing after the other; what the files are together is not known before the last one is written."""
    cut = told.card.tokenizer
    settings = ", ".join(f"{key} {value}" for key, value in told.card.parameters.items())
    return [
        ("name", told.name),
        ("format", told.card.format),
        ("trust", told.trust if told.objection is None else f"{told.trust}: {told.objection}"),
        *([("architecture", f"{told.card.architecture} ({settings})")] if told.card.architecture else []),
        *(("input", _line(tensor)) for tensor in told.card.inputs),
        *([("tokenizer", f"{cut.file}, {cut.max_length} tokens")] if cut else []),
        *(("output", _line(tensor)) for tensor in told.card.outputs),
        ("parameters", "unknown" if told.parameters is None else f"{told.parameters:,}"),
        *(_of_files(told) if of_files else ()),
    ]


def _of_files(told: Description) -> list[tuple[str, str]]:
    return [
        ("size", f"{told.content.size_bytes:,} bytes in {told.content.files} files"),
        ("digest", told.content.digest),
        ("signature", told.signed_with or ("not checked" if told.is_signed else "none")),
    ]


def _count_parameters(card: Card, path: Path) -> int:
    if card.format == "pt2":
        with Archive.open(path) as archive:
            return sum(math.prod(weight.sizes) for weight in read_program(archive).weights)
    try:
        with safetensors.safe_open(path, framework="numpy") as weights:
            names = weights.keys()
            # of weights that are encoded (see `encoding`), the values count
            counted = [name for name in names if not name.endswith((".scale", ".kept"))]
            return sum(math.prod(weights.get_slice(name).get_shape()) for name in counted)
    except FileNotFoundError:
        raise ModelError(Reason.INVALID, f"{path} is missing.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(Reason.INVALID, f"{path} is not a safetensors file: {error}.") from error


def _tensor(tensor: CardTensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def _line(tensor: CardTensor) -> str:
    return f"{tensor.name} {tensor.datatype} {list(tensor.shape)}"
