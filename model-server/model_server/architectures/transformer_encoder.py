"""`transformer-encoder`: tokens or vectors in, attention over the sequence, one answer per row or per position out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import torch
from torch import nn
from torch.nn import functional

from model_server.architectures.architecture import Architecture, Size, output_objection
from model_server.errors import RequestError
from model_server.protocol.datatypes import FREE

if TYPE_CHECKING:
    from model_server.artefact.card import Card

IDS = ("INT32", "INT64")


class TransformerEncoderParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words of torch's TransformerEncoderLayer, and what stands before and after the layers."""

    width: Size
    """Size of a vector between two layers (torch: d_model)."""
    depth: Size
    """Number of layers."""
    heads: Size
    """Heads of the attention; they share the width evenly."""
    feedforward: Size
    """Size of the hidden layer behind each attention."""
    output: Size | None = None
    """Size of the answer; absent, the vector of `width` is the answer."""
    vocabulary: Size | None = None
    """Number of tokens, for an input of token ids; absent, the input is vectors of `width`."""
    positions: Size | None = None
    """Longest sequence, where each position has a learned vector; absent, positions count for nothing."""
    mask: bool = False
    """A second input says with true which positions are real; the others are neither attended to nor averaged."""
    pool: Literal["mean", "first", "none"] = "mean"
    """How positions become one answer: their average, the first one, or not at all: an answer per position."""
    norm_first: bool = False
    """Normalise before attention and feedforward instead of after, and once more behind the last layer."""
    activation: Literal["relu", "gelu"] = "relu"
    embedding_norm: bool = False
    """Normalise before the first layer, too."""
    layer_norm_eps: Annotated[float, msgspec.Meta(gt=0)] = 1e-5
    normalize: bool = False
    """Answers have the length 1."""


class TransformerEncoder(nn.Module):
    """Its weights are named `tokens.weight`, `positions.weight`, `norm.*`, `encoder.*` as in torch, and `head.*`."""

    def __init__(self, parameters: TransformerEncoderParameters) -> None:
        super().__init__()
        width = parameters.width
        self.vocabulary = parameters.vocabulary
        self.pool = parameters.pool
        self.normalize = parameters.normalize
        self.tokens = nn.Embedding(parameters.vocabulary, width) if parameters.vocabulary else None
        self.positions = nn.Embedding(parameters.positions, width) if parameters.positions else None
        eps = parameters.layer_norm_eps
        self.norm = nn.LayerNorm(width, eps) if parameters.embedding_norm else None
        layer = nn.TransformerEncoderLayer(
            width,
            parameters.heads,
            parameters.feedforward,
            dropout=0.0,
            activation=parameters.activation,
            layer_norm_eps=eps,
            batch_first=True,
            norm_first=parameters.norm_first,
        )
        self.encoder = nn.TransformerEncoder(
            layer,
            parameters.depth,
            norm=nn.LayerNorm(width, eps) if parameters.norm_first else None,
            enable_nested_tensor=False,  # a prototype that warns; batches of one shape have nothing to gain
        )
        self.head = nn.Linear(width, parameters.output) if parameters.output else None

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Answer for each row, or for each position of each row."""
        real = None if mask is None else _checked(mask.to(torch.bool))
        y = x if self.tokens is None else self.tokens(self._known(x))
        if self.positions is not None:
            y = y + self.positions.weight[: y.shape[1]]
        if self.norm is not None:
            y = self.norm(y)
        attended = None if real is None or bool(real.all()) else real[:, None, None, :]
        for layer in self.encoder.layers:
            y = _through(layer, y, attended)
        if self.encoder.norm is not None:
            y = self.encoder.norm(y)
        answer = self._pooled(y, real)
        if self.head is not None:
            answer = self.head(answer)
        # in FP32: eight bits would leave the length off by up to 0.4 %
        return functional.normalize(answer.float(), dim=-1) if self.normalize else answer

    def _known(self, ids: torch.Tensor) -> torch.Tensor:
        """Blame the sender of a token that does not exist."""
        least, most = (int(end) for end in torch.aminmax(ids))
        if self.vocabulary is not None and not 0 <= least <= most < self.vocabulary:
            message = f"A token is {least if least < 0 else most}; this model's are 0 to {self.vocabulary - 1}."
            raise RequestError(400, message)
        return ids

    def _pooled(self, y: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        if self.pool == "none":
            return y
        if self.pool == "first":
            return y[:, 0]
        if real is None:
            return y.mean(dim=1)
        weights = real.to(y.dtype).unsqueeze(2)
        return (y * weights).sum(dim=1) / weights.sum(dim=1)


def _through(layer: nn.TransformerEncoderLayer, y: torch.Tensor, attended: torch.Tensor | None) -> torch.Tensor:
    """Compute what the layer does, by the attention that torch fuses.

    Its own path for inference is up to three times slower with a mask, and no faster without (measured, bfloat16).
    """
    if layer.norm_first:
        y = y + _attention(layer.self_attn, layer.norm1(y), attended)
        return y + _feedforward(layer, layer.norm2(y))
    y = layer.norm1(y + _attention(layer.self_attn, y, attended))
    answer: torch.Tensor = layer.norm2(y + _feedforward(layer, y))
    return answer


def _attention(attention: nn.MultiheadAttention, y: torch.Tensor, attended: torch.Tensor | None) -> torch.Tensor:
    rows, length, width = y.shape
    projected = functional.linear(y, attention.in_proj_weight, attention.in_proj_bias)
    heads = projected.view(rows, length, 3, attention.num_heads, attention.head_dim)
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=attended)
    answer: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(rows, length, width))
    return answer


def _feedforward(layer: nn.TransformerEncoderLayer, y: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = layer.linear2(layer.activation(layer.linear1(y)))
    return answer


def _checked(real: torch.Tensor) -> torch.Tensor:
    """Blame the sender of a row without content: its answer would be no number."""
    if not bool(real.any(dim=1).all()):
        raise RequestError(400, "The mask of a row is false everywhere; at least one position must be real.")
    return real


def _objection(parameters: TransformerEncoderParameters, card: Card) -> str | None:
    if parameters.width % parameters.heads:
        return f"a width that its heads share evenly, not {parameters.width} among {parameters.heads}"
    if card.tokenizer and (not parameters.vocabulary or not parameters.mask or parameters.pool == "none"):
        return "a tokenizer, so it needs a vocabulary, mask: true, and one answer per text (pool: mean or first)"
    first, *more = card.inputs
    if parameters.vocabulary and (len(first.shape) != len("ab") or first.datatype not in IDS):
        return "a first input of INT32 or INT64 of the shape [-1, length]"
    if not parameters.vocabulary and (len(first.shape) != len("abc") or first.shape[2] != parameters.width):
        return f"a first input of the shape [-1, length, {parameters.width}]"
    length = first.shape[1]
    if parameters.positions and not 1 <= length <= parameters.positions:
        return f"{parameters.positions} positions, so the length of its inputs is a number up to that"
    if [tensor.shape for tensor in more] != [(FREE, length)] * parameters.mask:
        return f"a second input of the shape [-1, {length}], the mask" if parameters.mask else "one input"
    size = parameters.output or parameters.width
    shape = (FREE, length, size) if parameters.pool == "none" else (FREE, size)
    return output_objection(card, *shape)


TRANSFORMER_ENCODER = Architecture(
    TransformerEncoderParameters,
    TransformerEncoder,
    _objection,
    keeps_datatypes=lambda parameters: parameters.vocabulary is not None,
)
