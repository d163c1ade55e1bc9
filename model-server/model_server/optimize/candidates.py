"""What may be served instead of a model: smaller layers, fewer weights, each in several kinds of numbers."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from model_server.architectures.mlp import MlpParameters
from model_server.encoding import Numbers, decoded, encoded
from model_server.optimize.prune import drop_weights, without_neurons
from model_server.train.fit import fit
from model_server.train.team import Team

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch import nn

    from model_server.artefact.card import Card
    from model_server.train.options import Options as Training
    from model_server.train.table import Table


class Structure(NamedTuple):
    """A module and the parameters that build it."""

    name: str
    module: nn.Module
    card: Card


class Candidate(NamedTuple):
    """A structure and its weights as they would be stored."""

    name: str
    structure: Structure
    weights: dict[str, torch.Tensor]

    def stored(self) -> nn.Module:
        """Return the module with the weights that a server would read."""
        module = deepcopy(self.structure.module)
        shapes = {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
        module.load_state_dict(decoded(self.weights, shapes))
        return module.eval()


def structures(
    given: nn.Module,
    card: Card,
    learned: Table,
    training: Training,
    *,
    neurons: Sequence[float],
    weights: Sequence[float],
) -> Iterator[Structure]:
    """Yield the model as it is, and then what is left of it, which learns again before it is judged."""
    yield Structure("as it is", given, card)
    if card.architecture == "mlp":
        parameters = msgspec.convert(card.parameters, MlpParameters)
        for share in neurons:
            module, smaller = without_neurons(given, parameters, share)
            _learn_again(module, learned, training)
            changed = msgspec.structs.replace(card, parameters=msgspec.to_builtins(smaller))
            yield Structure(f"{share:.0%} of the neurons out", module, changed)
    for share in weights:
        module = deepcopy(given).requires_grad_()
        drop_weights(module, share)
        _learn_again(module, learned, training)
        yield Structure(f"{share:.0%} of the weights out", module, card)


def in_numbers(structure: Structure, kinds: Sequence[Numbers]) -> Iterator[Candidate]:
    """Yield a structure as it would be stored in each kind of numbers."""
    for numbers in kinds:
        yield Candidate(f"{structure.name}, {numbers}", structure, encoded(structure.module.state_dict(), numbers))


def _learn_again(module: nn.Module, learned: Table, training: Training) -> None:
    fit(
        module,
        learned,
        None,
        training,
        Team(),
        state={},
        keep=lambda _state: None,
        tell=lambda _epoch: None,
    )
    module.eval().requires_grad_(requires_grad=False)
