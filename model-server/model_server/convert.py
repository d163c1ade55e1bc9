"""`model-server convert`: a sentence encoder as Hugging Face's libraries keep it becomes a model directory.

Read are its configuration, its safetensors and its tokenizer; nothing is unpickled and no code of it is run.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file

from model_server.architectures.transformer_encoder import TransformerEncoderParameters
from model_server.artefact.card import GOLDEN, WEIGHTS, Card, CardTensor, CardTokenizer, write_card
from model_server.artefact.digest import content_of
from model_server.artefact.publish import publish, staging
from model_server.errors import ModelError, Reason
from model_server.golden import write_golden
from model_server.model import load
from model_server.precision import Precision
from model_server.protocol.datatypes import FREE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Tensors = Mapping[str, torch.Tensor]

T = TypeVar("T")

EXAMPLES = (
    "A model directory holds weights, a card and golden examples.",
    "Where is the nearest railway station?",
    "Yes.",
    "Copper fell by three per cent on Tuesday, after the mines in the north had reported that more was on its way.",
)


class _Config(msgspec.Struct):
    """What of `config.json` says how a BERT is built."""

    model_type: Literal["bert"]
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    hidden_act: Literal["gelu", "relu"] = "gelu"
    layer_norm_eps: float = 1e-12
    position_embedding_type: Literal["absolute"] = "absolute"


class _Module(msgspec.Struct):
    """One step of `modules.json`, which sentence-transformers write."""

    path: str
    type: str


class _Pooling(msgspec.Struct):
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False


class _Lengths(msgspec.Struct):
    max_seq_length: int | None = None


def convert(source: Path, out: Path) -> dict[str, object]:
    """Write the model directory, all at once, and have it answer a few texts: those are its golden examples."""
    config = _read(source / "config.json", _Config)
    pool, normalize = _steps(source)
    lengths = source / "sentence_bert_config.json"
    longest = _read(lengths, _Lengths).max_seq_length if lengths.exists() else None
    parameters = TransformerEncoderParameters(
        width=config.hidden_size,
        depth=config.num_hidden_layers,
        heads=config.num_attention_heads,
        feedforward=config.intermediate_size,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        mask=True,
        pool=pool,
        activation=config.hidden_act,
        embedding_norm=True,
        layer_norm_eps=config.layer_norm_eps,
        normalize=normalize,
    )
    card = Card(
        format="safetensors",
        architecture="transformer-encoder",
        parameters=msgspec.to_builtins(parameters),
        inputs=(CardTensor("text", "BYTES", (FREE,)),),
        outputs=(CardTensor("embedding", "FP32", (FREE, config.hidden_size)),),
        tokenizer=CardTokenizer(min(longest or config.max_position_embeddings, config.max_position_embeddings)),
    )
    with staging(out.absolute().parent) as place:
        staged = place / out.name
        staged.mkdir()
        write_card(staged, card)
        save_file(_renamed(source / "model.safetensors", config), staged / WEIGHTS)
        shutil.copyfile(_existing(source / "tokenizer.json"), staged / "tokenizer.json")
        model = load(staged, precision=Precision.FLOAT32)
        texts = (np.array(EXAMPLES, dtype=object),)
        write_golden(staged / GOLDEN, texts, model.forward(texts), model.signature)
        content = content_of(staged)
        publish(staged, out)
    return {"digest": content.digest, "files": content.files, "bytes": content.size_bytes}


def _steps(source: Path) -> tuple[Literal["mean", "first"], bool]:
    """Say how positions become one vector, and whether that is normalised."""
    path = source / "modules.json"
    steps = _read(path, list[_Module]) if path.exists() else []
    names = [step.type.rpartition(".")[2] for step in steps]
    if names not in ([], ["Transformer"], ["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _bad(f"{path} has the steps {', '.join(names)}; Transformer, Pooling and Normalize can be converted")
    if "Pooling" not in names:
        return "mean", False
    path = source / steps[1].path / "config.json"
    pooling = _read(path, _Pooling)
    if pooling == _Pooling(pooling_mode_mean_tokens=True):
        return "mean", "Normalize" in names
    if pooling == _Pooling(pooling_mode_cls_token=True):
        return "first", "Normalize" in names
    raise _bad(f"{path} pools in a way that cannot be converted; the mean, or the first token, can")


def _renamed(path: Path, config: _Config) -> dict[str, torch.Tensor]:
    try:
        given = load_file(_existing(path))
    except (safetensors.SafetensorError, OSError) as error:
        raise _bad(f"{path} is not a safetensors file: {error}") from error
    given = {name.removeprefix("bert."): tensor for name, tensor in given.items()}
    try:
        return dict(_named(given, config.num_hidden_layers))
    except KeyError as error:
        raise _bad(f"{path} lacks {error.args[0]}, which every BERT has") from None


def _named(given: Tensors, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Name the tensors as torch's encoder does."""
    yield "tokens.weight", given["embeddings.word_embeddings.weight"]
    # One text is one segment, so that the vector of its type is added everywhere: it may as well be in the positions.
    segment = given["embeddings.token_type_embeddings.weight"][0]
    yield "positions.weight", given["embeddings.position_embeddings.weight"] + segment
    yield from _both(given, "norm", "embeddings.LayerNorm")
    for layer in range(depth):
        here, there = f"encoder.layers.{layer}", f"encoder.layer.{layer}"
        for kind in ("weight", "bias"):
            parts = [given[f"{there}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            yield f"{here}.self_attn.in_proj_{kind}", torch.cat(parts)
        yield from _both(given, f"{here}.self_attn.out_proj", f"{there}.attention.output.dense")
        yield from _both(given, f"{here}.norm1", f"{there}.attention.output.LayerNorm")
        yield from _both(given, f"{here}.linear1", f"{there}.intermediate.dense")
        yield from _both(given, f"{here}.linear2", f"{there}.output.dense")
        yield from _both(given, f"{here}.norm2", f"{there}.output.LayerNorm")


def _both(given: Tensors, here: str, there: str) -> Iterator[tuple[str, torch.Tensor]]:
    for kind in ("weight", "bias"):
        yield f"{here}.{kind}", given[f"{there}.{kind}"]


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(_existing(path).read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise _bad(f"{path} does not describe a BERT that can be converted: {error}") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise _bad(f"{path} is missing; a converted directory holds config.json, model.safetensors, tokenizer.json")
    return path


def _bad(what: str) -> ModelError:
    return ModelError(Reason.INVALID, f"{what}.")
