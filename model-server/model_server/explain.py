"""The explanation handler: one at a time, in a thread of its own, with a queue and a deadline of its own."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from model_server.errors import RequestError, client_gone, model_failed, queue_full
from model_server.exchange import error_response
from model_server.infer import encoded, internal_error, json_length, readable_body
from model_server.protocol.explain import answered, decode_explain, explanation_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.batcher import Handle, Worker
    from model_server.exchange import Pending, Reply, Request, Response
    from model_server.limits import Limits
    from model_server.metrics import Metrics
    from model_server.protocol.datatypes import Arrays, Signature
    from model_server.protocol.explain import ExplainRequest, Method

    Explainer: TypeAlias = Callable[[ExplainRequest, Callable[[], bool]], Arrays]

log = logging.getLogger(__name__)


class Loop(Protocol):
    """What is needed of an event loop."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Handle:
        """Call after a time."""


class Ticket:
    """One request on its way; it ends once, and the thread sees that it has."""

    def __init__(self, answer: Callable[[Response], None], loop: Loop, timeout_seconds: float) -> None:
        self.over = False
        self._answer = answer
        late = RequestError(504, f"The explanation was not ready within {timeout_seconds:g} seconds.")
        self._deadline = loop.call_later(timeout_seconds, partial(self.end, error_response(late)))

    def end(self, response: Response) -> None:
        """Answer, unless that has been done."""
        if not self.over:
            self.over = True
            self._deadline.cancel()
            self._answer(response)

    def cancel(self) -> None:
        """Stop: the client has gone."""
        self.end(error_response(client_gone()))


class Explain:
    """Answers `POST /v2/models/{model}/explain`."""

    def __init__(
        self,
        *,
        name: str,
        version: str,
        signature: Signature,
        methods: Sequence[Method],
        explainer: Explainer,
        worker: Worker,
        loop: Loop,
        limits: Limits,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._frame = {"model_name": name, "model_version": version}
        self._signature = signature
        self._answers = explanation_signature(signature)
        self._methods = methods
        self._explainer = explainer
        self._worker = worker
        self._loop = loop
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._held = 0  # by the worker: one that it runs, and those behind it, also if their clients have gone

    def __call__(self, request: Request, reply: Reply) -> Pending | None:
        """Take one request."""
        self._metrics.explain_inflight.add()
        answer = partial(self._answer, request, reply)
        limits = self._limits
        try:
            self._admit()
            asked = decode_explain(
                readable_body(request), json_length(request), self._signature, self._methods, limits.max_batch_size
            )
        except RequestError as error:
            answer(error_response(error))
            return None
        except Exception:
            log.exception("a request for an explanation could not be decoded")
            answer(internal_error())
            return None
        ticket = Ticket(answer, self._loop, limits.explain_timeout_seconds)
        self._held += 1
        self._worker.submit(partial(self._explained, asked, ticket), partial(self._done, ticket))
        return ticket

    def _admit(self) -> None:
        if self._held > self._limits.max_explain_queue:
            raise queue_full(self._held - 1, "explanations")

    def _explained(self, asked: ExplainRequest, ticket: Ticket) -> Response | None:
        """Compute and encode, in the thread; None when nobody waits any more."""
        try:
            if ticket.over:
                return None
            outputs = self._explainer(asked, lambda: ticket.over)
            return encoded(answered(asked, outputs), outputs, self._frame, self._answers)
        except RequestError as error:
            return error_response(error)
        except Exception:
            if ticket.over:
                return None
            log.exception("an explanation failed")
            return error_response(model_failed())

    def _done(self, ticket: Ticket, response: Response | None) -> None:
        self._held -= 1
        if response is not None:
            ticket.end(response)

    def _answer(self, request: Request, reply: Reply, response: Response) -> None:
        self._metrics.explain_requests[response.status].add()
        self._metrics.explain_seconds.observe(self._clock() - request.arrived)
        self._metrics.explain_inflight.add(-1)
        reply(response)
