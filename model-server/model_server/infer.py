"""The inference handler: decode, queue, encode. This is the hot path."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from model_server.errors import RequestError
from model_server.exchange import JSON, JSON_LENGTH, Response, error_response, number_of_bytes
from model_server.protocol.decode import decode
from model_server.protocol.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from model_server.batch import Outcome
    from model_server.batcher import Batcher
    from model_server.busy_poll import BusyPoll
    from model_server.exchange import Pending, Reply, Request
    from model_server.metrics import Metrics
    from model_server.protocol.datatypes import Arrays, Signature
    from model_server.protocol.decode import InferRequest

log = logging.getLogger(__name__)

_BINARY = (b"content-type", b"application/octet-stream")


class Infer:
    """Answers `POST /v2/models/{model}/infer`."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        signature: Signature,
        batcher: Batcher,
        metrics: Metrics,
        clock: Callable[[], float],
        busy_poll: BusyPoll,
    ) -> None:
        self._frame = {"model_name": name, "model_version": version}
        self._signature = signature
        self._batcher = batcher
        self._metrics = metrics
        self._clock = clock
        self._busy_poll = busy_poll

    def __call__(self, request: Request, reply: Reply) -> Pending | None:
        """Take one request."""
        self._metrics.inflight.add()
        self._busy_poll.taken()
        try:
            self._batcher.admit()
            asked = decode(readable_body(request), json_length(request), self._signature)
            return self._batcher.submit(asked.inputs, partial(self._done, request, reply, asked))
        except RequestError as error:
            self._answer(request, reply, error_response(error))
        except Exception:
            log.exception("a request could not be decoded")
            self._answer(request, reply, internal_error())
        return None

    def _done(self, request: Request, reply: Reply, asked: InferRequest, outcome: Outcome) -> None:
        if isinstance(outcome, RequestError):
            response = error_response(outcome)
        else:
            try:
                response = encoded(asked, outcome, self._frame, self._signature)
            except Exception:
                log.exception("an answer could not be encoded")
                response = internal_error()
        self._answer(request, reply, response)

    def _answer(self, request: Request, reply: Reply, response: Response) -> None:
        count_answer(self._metrics, response, self._clock() - request.arrived)
        self._metrics.inflight.add(-1)
        reply(response)
        self._busy_poll.answered()


def encoded(asked: InferRequest, outputs: Arrays, frame: Mapping[str, str], signature: Signature) -> Response:
    """Answer with what was asked for."""
    body, json_bytes = encode(asked, outputs, frame, signature)
    if json_bytes:
        return Response(200, body, (_BINARY, (JSON_LENGTH, b"%d" % json_bytes)))
    return Response(200, body, JSON)


def internal_error() -> Response:
    """Answer for a fault of ours; its cause is for the log."""
    return error_response(RequestError(500, "The server failed on this request; its log has the cause."))


def count_answer(metrics: Metrics, response: Response, seconds: float) -> None:
    """Count one answered inference request."""
    metrics.requests[response.status].add()
    metrics.request_seconds.observe(seconds)


def readable_body(request: Request) -> bytes | memoryview:
    """Return the body, or raise RequestError where it could not be read."""
    if request.problem is not None:
        raise request.problem
    encoding = request.header(b"content-encoding")
    if encoding is not None and encoding != b"identity":
        message = f"The body is compressed ({encoding.decode('latin-1')!r}); send it as it is."
        raise RequestError(415, message)
    return request.body


def json_length(request: Request) -> int | None:
    """Return how much of the body is JSON, where binary tensors follow it."""
    value = request.header(JSON_LENGTH)
    if value is None:
        return None
    length = number_of_bytes(value)
    if length is None:
        message = f"Inference-Header-Content-Length is {value.decode('latin-1')!r}; it must be a number of bytes."
        raise RequestError(400, message)
    return length
