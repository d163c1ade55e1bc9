"""Several requests become one forward pass, and its outputs become theirs again (pure, and run by the executor)."""

from __future__ import annotations

import logging
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from model_server.errors import RequestError, model_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.protocol.datatypes import Arrays

    Outcome: TypeAlias = Arrays | RequestError

log = logging.getLogger(__name__)


def run_batch(forward: Callable[[Arrays], Arrays], requests: Sequence[Arrays]) -> list[Outcome]:
    """Answer all requests together, or, when that fails, each alone: one bad request must not fail its neighbours."""
    try:
        return list(_together(forward, requests))
    except RequestError as error:  # the model blames the sender, as for a token that it does not know
        if len(requests) == 1:
            return [error]
    except Exception:
        if len(requests) == 1:
            log.exception("the model failed on a request")
            return [model_failed()]
    return [outcome for request in requests for outcome in run_batch(forward, [request])]


def _together(forward: Callable[[Arrays], Arrays], requests: Sequence[Arrays]) -> list[Arrays]:
    rows = [len(request[0]) for request in requests]
    if len(requests) == 1:
        inputs = requests[0]
    else:
        inputs = tuple(np.concatenate(arrays) for arrays in zip(*requests, strict=True))
    outputs = forward(inputs)
    ends = list(accumulate(rows))
    for output in outputs:
        if len(output) != ends[-1]:  # else answers would go to the wrong clients (MLServer#1306, BentoML#3710)
            message = f"the model gave {len(output)} rows for {ends[-1]}"
            raise ValueError(message)
    if len(requests) == 1:
        return [outputs]
    return [tuple(output[end - count : end] for output in outputs) for count, end in zip(rows, ends, strict=True)]
