"""A BERT small enough for tests, as Hugging Face's libraries keep one, and what it answers by plain arithmetic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional

if TYPE_CHECKING:
    from pathlib import Path

    Weights = dict[str, torch.Tensor]

WIDTH, DEPTH, HEADS, HIDDEN, POSITIONS, LONGEST = 16, 2, 4, 32, 40, 32
EPS = 1e-12
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "copper", "fell", "rose", "on", "tuesday", "##s", ".", "?", "a", "b", "é")
CONFIG = {
    "model_type": "bert",
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": HIDDEN,
    "vocab_size": len(WORDS),
    "max_position_embeddings": POSITIONS,
    "hidden_act": "gelu",
    "layer_norm_eps": EPS,
}


def tokenizer() -> Tokenizer:
    """Cut words as BERT does. It pads and truncates to lengths of its own, as published ones do."""
    made = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [(word, WORDS.index(word)) for word in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    made.enable_padding(length=POSITIONS)
    made.enable_truncation(5)
    return made


def weights() -> Weights:
    """Draw weights under the names that every BERT's have."""
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw) / shape[-1] ** 0.5

    def pair(name: str, *shape: int) -> Weights:
        return {f"{name}.weight": some(*shape), f"{name}.bias": some(shape[0])}

    def layer(name: str) -> Weights:
        made = {}
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            made |= pair(f"{name}.attention.{part}", WIDTH, WIDTH)
        made |= pair(f"{name}.attention.output.LayerNorm", WIDTH) | pair(f"{name}.output.LayerNorm", WIDTH)
        return made | pair(f"{name}.intermediate.dense", HIDDEN, WIDTH) | pair(f"{name}.output.dense", WIDTH, HIDDEN)

    made = {
        "embeddings.word_embeddings.weight": some(len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": some(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
        "embeddings.position_ids": torch.arange(POSITIONS).unsqueeze(0),
        **pair("embeddings.LayerNorm", WIDTH),
        **pair("pooler.dense", WIDTH, WIDTH),
    }
    for index in range(DEPTH):
        made |= layer(f"encoder.layer.{index}")
    return made


def write(path: Path, **config: object) -> Path:
    """Write the directory of a sentence encoder: the mean of the positions, of length 1."""
    path.mkdir()
    save_file(weights(), path / "model.safetensors")
    tokenizer().save(str(path / "tokenizer.json"))
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [{"path": place, "type": f"sentence_transformers.models.{name}"} for place, name in steps]
    (path / "1_Pooling").mkdir()
    for name, content in (
        ("config.json", {**CONFIG, **config}),
        ("modules.json", modules),
        ("1_Pooling/config.json", {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True}),
        ("sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False}),
    ):
        (path / name).write_text(json.dumps(content))
    return path


def embedding(text: str) -> torch.Tensor:
    """Compute what it answers for one text, by itself and without padding."""
    given = weights()
    cutter = tokenizer()
    cutter.no_padding()
    cutter.enable_truncation(LONGEST)
    ids = torch.tensor(cutter.encode(text).ids)

    def norm(y: torch.Tensor, name: str) -> torch.Tensor:
        centred = y - y.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
        return scaled * given[f"{name}.weight"] + given[f"{name}.bias"]

    def linear(y: torch.Tensor, name: str) -> torch.Tensor:
        return y @ given[f"{name}.weight"].T + given[f"{name}.bias"]

    y = given["embeddings.word_embeddings.weight"][ids] + given["embeddings.position_embeddings.weight"][: len(ids)]
    y = norm(y + given["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for index in range(DEPTH):
        here = f"encoder.layer.{index}"
        query, key, value = (
            linear(y, f"{here}.attention.self.{part}").view(len(ids), HEADS, -1).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        shares = (query @ key.transpose(1, 2) / (WIDTH / HEADS) ** 0.5).softmax(-1)
        mixed = (shares @ value).transpose(0, 1).reshape(len(ids), WIDTH)
        y = norm(y + linear(mixed, f"{here}.attention.output.dense"), f"{here}.attention.output.LayerNorm")
        hidden = functional.gelu(linear(y, f"{here}.intermediate.dense"))
        y = norm(y + linear(hidden, f"{here}.output.dense"), f"{here}.output.LayerNorm")
    return functional.normalize(y.mean(0), dim=0)
