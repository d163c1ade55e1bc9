"""`model.json`: what a model is called from outside and how it is built inside. Unknown keys are refused."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from model_server.errors import ModelError, NeedsNativeError, Reason
from model_server.protocol.datatypes import BYTES, DATATYPES, FREE, INPUT_DATATYPES, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

CARD = "model.json"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.npz"

Format = Literal["safetensors", "pt2", "torchscript", "python"]
FILES: dict[Format, str] = {
    "safetensors": WEIGHTS,
    "pt2": "model.pt2",
    "torchscript": "model.pt",
    "python": "handler.py",
}


class Trust(StrEnum):
    """What an artefact may do, in the words of `spec.model.trust`."""

    DATA = "Data"
    """Be read: numbers, and steps from a list of allowed ones."""
    NATIVE = "Native"
    """Run code of its own, with all that the server may do."""


_RUNS_CODE: dict[Format, str] = {
    "torchscript": "TorchScript runs code of its own",
    "python": "a handler is code of its own",
}


class CardTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One input or output; the first dimension is the rows of a batch and therefore free (-1)."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    """What the columns are called: features, or classes."""


class CardTokenizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes tokens of texts."""

    max_length: Annotated[int, msgspec.Meta(ge=1)]
    """Tokens of one text; what is longer is cut."""
    file: Annotated[str, msgspec.Meta(pattern=r"^\w[\w.-]*$")] = "tokenizer.json"
    """Beside the card, as Hugging Face's tokenizers write it."""


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The whole file."""

    format: Format
    architecture: str = ""
    parameters: dict[str, object] = {}
    inputs: tuple[CardTensor, ...]
    outputs: tuple[CardTensor, ...]
    tokenizer: CardTokenizer | None = None
    """Stands between the one input, texts, and the model."""
    description: str = ""
    """What it is for."""
    preprocessing: str = ""
    """What was done to the data before it was learned, and what a client has to do."""
    training: dict[str, object] = {}
    """How it was learned, and how good it was then: for people, nothing depends on it."""
    evaluation: dict[str, object] = {}
    """What `model-server evaluate` said of it."""

    @property
    def file(self) -> str:
        """Name the file beside the card."""
        return FILES[self.format]

    @property
    def behind_tokenizer(self) -> Card:
        """What the model itself takes: where there is a tokenizer, tokens, and which of them are real."""
        if self.tokenizer is None:
            return self
        shape = (FREE, self.tokenizer.max_length)
        tokens = (CardTensor("tokens", "INT64", shape), CardTensor("mask", "BOOL", shape))
        return msgspec.structs.replace(self, inputs=tokens)


def hold_trust(card: Card, trust: Trust) -> None:
    """Refuse what could run code of its own unless that is allowed."""
    if trust is Trust.DATA and card.format in _RUNS_CODE:
        raise NeedsNativeError(card.file, _RUNS_CODE[card.format])


def read_card(directory: Path) -> Card:
    """Read and check the card of a model directory."""
    path = directory / CARD
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        message = f"{path} is missing: a model directory holds {CARD} and what it names."
        raise ModelError(Reason.INVALID, message) from None
    except OSError as error:
        raise ModelError(Reason.INVALID, f"{path} cannot be read: {error.strerror}.") from error
    try:
        card = msgspec.json.decode(text, type=Card)
    except msgspec.MsgspecError as error:
        raise ModelError(Reason.INVALID, f"{path} is not a model card: {error}.") from error
    for wrong in _contradictions(card):
        raise ModelError(Reason.INVALID, f"{path}: {wrong}.")
    return card


def write_card(directory: Path, card: Card) -> None:
    """Write the card as people read it."""
    (directory / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")


def specs(tensors: tuple[CardTensor, ...]) -> tuple[TensorSpec, ...]:
    """Turn the card's tensors into what the protocol checks requests against."""
    return tuple(TensorSpec(tensor.name, INPUT_DATATYPES[tensor.datatype], tensor.shape) for tensor in tensors)


def _contradictions_of_texts(card: Card) -> list[str]:
    found = []
    if (card.tokenizer is not None) != any(tensor.datatype == BYTES.name for tensor in card.inputs):
        found.append("an input of BYTES (texts) and a tokenizer need each other")
    if card.tokenizer is not None and [tensor.shape for tensor in card.inputs] != [(FREE,)]:
        found.append("a model with a tokenizer has one input, of the shape [-1]")
    if card.tokenizer is not None and card.format != "safetensors":
        found.append("a tokenizer goes with the format safetensors")
    return found


def _contradictions(card: Card) -> list[str]:
    found = []
    if card.format == "safetensors" and not card.architecture:
        found.append("the format safetensors needs an architecture: the code that gives the weights their meaning")
    if card.format != "safetensors" and (card.architecture or card.parameters):
        found.append(f"architecture and parameters are for the format safetensors; a {card.format} brings its own")
    found += _contradictions_of_texts(card)
    for side, tensors in (("inputs", card.inputs), ("outputs", card.outputs)):
        if not tensors:
            found.append(f"{side} is empty; a model has at least one")
        names = [tensor.name for tensor in tensors]
        found += [f"{side} names {name!r} twice" for name in dict.fromkeys(names) if names.count(name) > 1]
        for tensor in tensors:
            where = f"{side} {tensor.name!r}"
            datatypes = INPUT_DATATYPES if side == "inputs" else DATATYPES
            if tensor.datatype not in datatypes:
                known = ", ".join(datatypes)
                found.append(f"{where} has the datatype {tensor.datatype!r}; this server knows {known}")
            if tensor.shape[:1] != (FREE,):
                found.append(f"{where} has the shape {list(tensor.shape)}; its first dimension must be -1, the rows")
            if tensor.labels and tensor.shape[-1] != len(tensor.labels):
                found.append(f"{where} has {len(tensor.labels)} labels for {tensor.shape[-1]} columns")
            if any(size < 1 and size != FREE for size in tensor.shape):
                found.append(f"{where} has the shape {list(tensor.shape)}; sizes are positive, or -1 where free")
    return found
