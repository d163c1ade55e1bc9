"""The order of things: make candidates, measure them, choose, write the directory and the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import torch
from safetensors.torch import save_file

from model_server.artefact.card import GOLDEN, WEIGHTS, read_card, specs, write_card
from model_server.artefact.digest import content_of
from model_server.artefact.publish import publish, staging
from model_server.errors import ModelError, Reason
from model_server.golden import read_golden, write_golden
from model_server.model import load, set_up_torch
from model_server.optimize.candidates import Candidate, in_numbers, structures
from model_server.optimize.choose import Measured, best
from model_server.optimize.measure import ROWS, figure_of, latencies, lost, size_of
from model_server.optimize.report import require_charts, write_report
from model_server.precision import Precision
from model_server.protocol.datatypes import Signature
from model_server.reference import read_reference, write_reference
from model_server.train.options import Options as Training
from model_server.weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_server.artefact.card import Card
    from model_server.encoding import Numbers
    from model_server.optimize.choose import Bounds
    from model_server.train.options import Loss
    from model_server.train.table import Table

ARCHITECTURES = ("mlp", "cnn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is tried, and what must hold."""

    loss: Loss
    bounds: Bounds
    neurons: Sequence[float]
    """Shares of the hidden neurons of an mlp that are left out."""
    weights: Sequence[float]
    """Shares of the weights that are left out."""
    numbers: Sequence[Numbers]
    epochs: int
    learning_rate: float
    batch_size: int
    seed: int

    def training(self) -> Training:
        """Say how what is left learns again."""
        return Training(
            hidden=(),
            activation="relu",
            loss=self.loss,
            optimizer="Adam",
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            schedule="Cosine",
        )


def optimize(
    directory: Path, learned: Table, held_out: Table, options: Options, *, out: Path, report_dir: Path | None = None
) -> dict[str, object]:
    """Write the best candidate as a model directory of its own, and say how it compares."""
    set_up_torch()
    torch.use_deterministic_algorithms(mode=True)
    if report_dir:
        require_charts()
    card = read_card(directory)
    _hold(card, learned)
    given = load_weights(card, directory / card.file).module
    before = figure_of(given, held_out, options.loss)
    made = list(structures(given, card, learned, options.training(), neurons=options.neurons, weights=options.weights))
    times = latencies([structure.module for structure in made], torch.from_numpy(held_out.x[:ROWS]))
    size_before = (directory / card.file).stat().st_size
    candidates: dict[str, Candidate] = {}
    found: list[Measured] = []
    for structure, seconds in zip(made, times, strict=True):
        for candidate in in_numbers(structure, options.numbers):
            candidates[candidate.name] = candidate
            figure = figure_of(candidate.stored(), held_out, options.loss)
            worse = lost(figure, before, options.loss)
            share = size_of(candidate) / size_before
            found.append(Measured(candidate.name, worse, seconds / times[0], share, figure))
    source = content_of(directory).digest
    chosen = best(found, options.bounds)
    if report_dir:
        write_report(report_dir, source, found, chosen, options.loss)
    if chosen is None:
        closest = min(found, key=lambda one: one.lost)
        message = (
            f"None of {len(found)} candidates keeps the bounds. The most accurate, {closest.name}, loses"
            f" {closest.lost:.2f}, at {closest.size:.0%} of the size and {closest.latency:.0%} of the time."
        )
        raise ModelError(Reason.INVALID, message)
    told = _told(chosen, source, before, options.loss)
    digest = _write(out, directory, candidates[chosen.name], told, learned)
    return {"digest": digest, **told}


def _hold(card: Card, learned: Table) -> None:
    if card.architecture not in ARCHITECTURES:
        wanted = " or ".join(ARCHITECTURES)
        message = f"A model of the architecture {card.architecture or card.format} is not optimised; {wanted} is."
        raise ModelError(Reason.INVALID, message)
    ((_, *shape),) = (tensor.shape for tensor in card.inputs)
    if list(learned.x.shape[1:]) != shape:
        message = f"The data set has rows of {list(learned.x.shape[1:])}; the model takes {shape}."
        raise ModelError(Reason.INVALID, message)


def _told(chosen: Measured, source: str, before: float, loss: Loss) -> dict[str, object]:
    figure = "accuracy" if loss == "CrossEntropy" else "rmse"
    return {
        "from": source,
        "how": chosen.name,
        figure: round(chosen.figure, 6),
        f"{figure}_before": round(before, 6),
        "lost": round(chosen.lost, 4),
        "size": round(chosen.size, 4),
        "latency": round(chosen.latency, 4),
    }


def _write(out: Path, source: Path, candidate: Candidate, told: dict[str, object], learned: Table) -> str:
    """Write the directory; it answers the golden inputs of the one that it comes from."""
    card = candidate.structure.card
    signature = Signature(specs(card.inputs), specs(card.outputs))
    golden = read_golden(source / GOLDEN, signature)
    inputs = golden.inputs if golden else (learned.x[:8],)
    # A judgement of the model that it comes from is none of this one.
    card = msgspec.structs.replace(card, training={**card.training, "optimized": told}, evaluation={})
    with staging(out.absolute().parent) as place:
        staged = place / out.name
        staged.mkdir()
        write_card(staged, card)
        save_file(candidate.weights, staged / WEIGHTS)
        model = load(staged, precision=Precision.FLOAT32)
        write_golden(staged / GOLDEN, inputs, model.forward(inputs), signature)
        if reference := read_reference(source, signature.inputs):
            write_reference(staged, reference)
        digest = content_of(staged).digest
        publish(staged, out)
    return digest
