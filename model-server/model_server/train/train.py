"""The order of things: cross-validation, the model itself, the directory that is served, the report."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import torch
from safetensors.torch import save_file

from model_server.artefact.card import GOLDEN, WEIGHTS, read_card, specs, write_card
from model_server.artefact.digest import content_of
from model_server.artefact.publish import publish, staging
from model_server.model import load, set_up_torch
from model_server.reference import LEAST_ROWS, reference_of, write_reference
from model_server.train.checkpoint import Checkpoint, State, key_of
from model_server.train.fit import History, best_epoch, derived_seed, fit
from model_server.train.folds import folds_of, held_back, summary
from model_server.train.judge import judge
from model_server.train.network import Network, Scales, make_network
from model_server.train.report import require_charts, write_report
from model_server.train.team import Team, team_from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from model_server.artefact.card import Card
    from model_server.protocol.datatypes import Array
    from model_server.train.fit import Epoch
    from model_server.train.options import Options
    from model_server.train.table import Table

GOLDEN_ROWS = 8
CHECKPOINT_SECONDS = 30.0
_STANDARDIZED = "Standardised for training; folded into the weights, so the model takes and gives raw numbers."


def train(
    table: Table,
    options: Options,
    out: Path,
    held_out: Table | None = None,
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    report_dir: Path | None = None,
) -> dict[str, Any]:
    """Train, write the model directory all at once, and say how good it is; the leader of a team does the last two."""
    set_up_torch()
    torch.use_deterministic_algorithms(mode=True)
    if report_dir:
        require_charts()
    with team_from_environment() as team, _bar(options, team) as tell:
        checkpoint = Checkpoint(out, key_of(table, options), checkpoint_seconds)
        run = _Run(table, options, team, checkpoint, tell, team.agree(checkpoint.read() if team.leads else {}))
        folds = list(run.cross_validated()) if options.folds else []
        learned = run.learned(table, options.seed)
        if not team.leads:
            return {}
    network, history = learned
    training: dict[str, Any] = {"rows": len(table), **options.told(), "loss_at_end": history[-1]["loss"]}
    training["epochs_done"] = len(history)
    if options.validation:
        training["validation"] = {
            "epoch": best_epoch(history) + 1,
            "loss": history[best_epoch(history)]["validation_loss"],
        }
    if folds:
        training["cross_validation"] = summary(folds)
    if held_out is not None:
        training["held_out"] = {"rows": len(held_out), **judge(network.module, held_out, options.loss)}
    card = msgspec.structs.replace(
        network.card, preprocessing=_STANDARDIZED if options.standardize else "", training=training
    )
    digest = write_model(out, card, network.module, table.x)
    checkpoint.remove()
    result = {"digest": digest, **read_card(out).parameters, "loss": history[-1]["loss"], "epochs": len(history)}
    result |= {name: training[name] for name in ("validation", "cross_validation", "held_out") if name in training}
    if report_dir:
        write_report(report_dir, card, digest, history, folds)
    return result


def write_model(out: Path, card: Card, module: torch.nn.Module, rows: Array) -> str:
    """Write the directory; the golden outputs are what the server itself gives for the first of the rows."""
    examples = rows[:GOLDEN_ROWS]
    with staging(out.absolute().parent) as place:
        staged = place / out.name
        staged.mkdir()
        write_card(staged, card)
        save_file(module.state_dict(), staged / WEIGHTS)
        (outputs,) = load(staged).forward((examples,))
        golden: dict[str, Any] = {"inputs.x": examples, "outputs.y": outputs}
        np.savez(staged / GOLDEN, **golden)
        if len(rows) >= LEAST_ROWS:
            write_reference(staged, reference_of(specs(card.inputs), {"x": rows}))
        digest = content_of(staged).digest
        publish(staged, out)
    return digest


class _Learned(NamedTuple):
    network: Network
    history: History


@dataclass
class _Run:
    """One or several models from one table; what is done is in `state`, for a run that takes this one up."""

    table: Table
    options: Options
    team: Team
    checkpoint: Checkpoint
    tell: Callable[[Epoch], None]
    state: State = field(default_factory=dict)

    def cross_validated(self) -> Iterator[dict[str, float]]:
        """Judge a model of each fold by the rows that it has not seen."""
        done: list[dict[str, float]] = self.state.setdefault("folds", [])
        for number, (learned, judged) in enumerate(folds_of(self.table, self.options)):
            if number == len(done):
                module = self.learned(learned, derived_seed(self.options.seed, number)).network.module
                done.append(judge(module, judged, self.options.loss))
                self.state.pop("fit", None)
                if self.team.leads:
                    self.checkpoint.write(self.state)
            yield done[number]

    def learned(self, table: Table, seed: int) -> _Learned:
        """Train a model of these rows."""
        rows, validation = held_back(table, self.options)
        scales = Scales.of(rows, self.options) if self.options.standardize else None
        network = make_network(self.table, self.options, seed)
        history = fit(
            network.module,
            scales(rows) if scales else rows,
            scales(validation) if scales and validation else validation,
            self.options,
            self.team,
            state=self.state.get("fit", {}),
            keep=self._keep,
            tell=self.tell,
        )
        if scales:
            scales.fold_into(network.module)
        return _Learned(network, history)

    def _keep(self, state: Callable[[], State]) -> None:
        if self.team.leads:
            self.checkpoint.keep(lambda: {**self.state, "fit": state()})


@contextmanager
def _bar(options: Options, team: Team) -> Iterator[Callable[[Epoch], None]]:
    """Show the way to whoever watches a terminal."""
    with suppress(ImportError):
        from tqdm import tqdm  # noqa: PLC0415  # an extra; without it nothing is missed but the bar

        shown = team.leads and sys.stderr.isatty()
        with tqdm(total=options.epochs * (options.folds + 1), unit=" epochs", disable=not shown) as bar:

            def tell(epoch: Epoch) -> None:
                bar.update()
                bar.set_postfix({name: f"{value:.4g}" for name, value in epoch.items()}, refresh=False)

            yield tell
            return
    yield lambda _epoch: None
