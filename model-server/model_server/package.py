"""`model-server package`: a model directory becomes one to hand on: proven, described, signed.

The order matters: the figures go into the card, the page tells of the card, the signature is over both, the digest over
all of it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from model_server.artefact.card import GOLDEN, Trust, read_card, specs, write_card
from model_server.artefact.digest import content_of
from model_server.artefact.pack import ARCHIVE, pack
from model_server.artefact.publish import publish, staging
from model_server.artefact.signature import SIGNATURE, sign
from model_server.describe import as_rows, describe
from model_server.errors import ModelError, Reason
from model_server.evaluate.dataset import read_dataset
from model_server.golden import write_golden
from model_server.model import load
from model_server.page import Page
from model_server.reference import reference_of, write_reference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_server.artefact.card import Card
    from model_server.protocol.datatypes import Array

PAGE = "README.md"
GOLDEN_ROWS = 8
_GIBIBYTE = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is added to the directory."""

    description: str = ""
    evaluation: Path | None = None
    """What `model-server evaluate` has printed."""
    examples: Path | None = None
    """Rows for golden examples, in the layout of its data sets."""
    reference: Path | None = None
    """Rows that the model learned from, in the same layout; drift is measured against them."""
    sign_key: Path | None = None
    trust: Trust = Trust.DATA


def package(directory: Path, out: Path, options: Options) -> dict[str, object]:
    """Write the directory anew, or an archive of it, all at once; what it has and nothing is given for is kept."""
    card = read_card(directory)
    card = msgspec.structs.replace(
        card,
        description=options.description or card.description,
        evaluation=_figures(options.evaluation) if options.evaluation else card.evaluation,
    )
    with staging(out.absolute().parent) as place:
        staged = place / directory.resolve().name
        shutil.copytree(directory, staged, ignore=shutil.ignore_patterns(SIGNATURE), symlinks=True)
        write_card(staged, card)
        _prove(staged, card, options)
        if options.reference:
            write_reference(staged, reference_of(specs(card.inputs), _rows(options.reference, card)))
        _write_page(staged, card)
        if options.sign_key:
            sign(staged, options.sign_key)
        content = content_of(staged)
        if out.name.endswith(ARCHIVE):
            packed = place / out.name
            pack(staged, packed)
            publish(packed, out)
        else:
            publish(staged, out)
    return {
        "digest": content.digest,
        "files": content.files,
        "bytes": content.size_bytes,
        "signed": options.sign_key is not None,
    }


def _figures(path: Path) -> dict[str, object]:
    try:
        facts: dict[str, object] = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelError(Reason.INVALID, f"{path} holds no evaluation: {error}.") from error
    if not isinstance(facts.get("metrics"), dict):
        message = f"{path} holds no metrics; it is what model-server evaluate prints, or writes to its --output."
        raise ModelError(Reason.INVALID, message)
    return facts


def _prove(directory: Path, card: Card, options: Options) -> None:
    """Have the model answer its golden examples, or make some; without any it is not handed on."""
    golden = directory / GOLDEN
    if options.examples:
        golden.unlink(missing_ok=True)
    elif not golden.exists():
        message = (
            f"{directory.name} lacks {GOLDEN}, which proves a model wherever it is served; give rows (--examples)."
        )
        raise ModelError(Reason.INVALID, message)
    model = load(directory, trust=options.trust)
    if options.examples:
        rows = _rows(options.examples, card)
        inputs = tuple(rows[spec.name][:GOLDEN_ROWS] for spec in specs(card.inputs))
        write_golden(golden, inputs, model.forward(inputs), model.signature)
        load(directory, trust=options.trust)


def _rows(path: Path, card: Card) -> Mapping[str, Array]:
    with path.open("rb") as file:
        return read_dataset(file, specs(card.inputs), max_bytes=_GIBIBYTE).inputs


# -- the page for people


def _write_page(directory: Path, card: Card) -> None:
    page = Page(card.description or f"A model ({card.architecture or card.format})")
    rows = as_rows(describe(directory), of_files=False)
    page.table(("", ""), [row for row in rows if row[0] not in ("name", "input", "output")])
    for side, tensors in (("Inputs", card.inputs), ("Outputs", card.outputs)):
        page.heading(side)
        page.table(
            ("name", "datatype", "shape", "columns"),
            [(tensor.name, tensor.datatype, list(tensor.shape), tensor.labels) for tensor in tensors],
        )
    if card.preprocessing:
        page.text(card.preprocessing)
    _tell_figures(page, "Training", card.training)
    _tell_figures(page, "Evaluation", card.evaluation)
    page.heading("Golden examples")
    page.text(
        f"`{GOLDEN}` holds inputs and the outputs that belong to them. The server answers them before it is ready."
    )
    page.heading("Serve it")
    page.code("model-server serve DIR")
    page.write(directory, PAGE)


def _tell_figures(page: Page, title: str, figures: Mapping[str, object]) -> None:
    if figures:
        page.heading(title)
        page.table(("", ""), figures.items())
