"""MiniLM by the libraries that it comes from, one JSON line in, one out. It runs in an environment of its own."""

from __future__ import annotations

import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

source, threads = sys.argv[1:]
if threads:
    torch.set_num_threads(int(threads))
library = SentenceTransformer(source, device="cpu")
bert = library[0].auto_model.eval()


@torch.inference_mode()
def forward(rows: int, tokens: int) -> float:
    """Return the shortest time of a few passes: the layers, the mean, the norm; the tokens are there already."""
    ids = torch.randint(1000, 30000, (rows, tokens), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        states = bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(2).to(states.dtype)
        torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=1)
        best = min(best, time.perf_counter() - start)
    return best


def timed(texts: list[str]) -> float:
    """Return the time that the library takes at its defaults."""
    start = time.perf_counter()
    library.encode(texts)
    return time.perf_counter() - start


for line in sys.stdin:
    asked = json.loads(line)
    match asked.pop("what"):
        case "forward":
            answer: object = forward(**asked)
        case "encode":
            answer = library.encode(asked["texts"]).tolist()
        case "timed":
            answer = timed(asked["texts"])
    print(json.dumps(answer), flush=True)
