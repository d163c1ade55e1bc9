"""Who waits for an explanation, for how long, and how many: told with a worker that works when the test says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.errors import RequestError
from model_server.exchange import Request, Response
from model_server.explain import Explain, Ticket
from model_server.limits import Limits
from model_server.metrics import Metrics
from model_server.protocol.datatypes import DATATYPES, Signature, TensorSpec
from model_server.protocol.explain import ExplainRequest, Method

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from model_server.protocol.datatypes import Arrays

SIGNATURE = Signature((TensorSpec("x", DATATYPES["FP32"], (-1, 1)),), (TensorSpec("y", DATATYPES["FP32"], (-1, 1)),))
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [3]}], "id": "7"}).encode()


class Call:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A loop and a worker in one; its explainer fails as told, and tells whether it was asked to stop."""

    def __init__(self, outcome: Exception | None = None) -> None:
        self.outcome = outcome
        self.deadlines: list[Call] = []
        self.work: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.ran = 0
        self.answers: list[Response] = []
        self.metrics = Metrics(4)
        self.explain = Explain(
            name="m",
            version="1f",
            signature=SIGNATURE,
            methods=[Method.SALIENCY],
            explainer=self.explainer,
            worker=self,
            loop=self,
            limits=Limits(max_explain_queue=2, explain_timeout_seconds=3.0),
            metrics=self.metrics,
            clock=lambda: 2.0,
        )

    def call_later(self, delay: float, callback: Callable[[], None]) -> Call:
        assert delay == 3.0
        self.deadlines.append(Call(callback))
        return self.deadlines[-1]

    def submit(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.work.append((work, done))

    def explainer(self, asked: ExplainRequest, is_over: Callable[[], bool]) -> Arrays:
        assert not is_over()
        self.ran += 1
        if self.outcome is not None:
            raise self.outcome
        return (asked.inputs[0] * 2, np.zeros(1, np.float32))

    def asks(self, body: bytes = BODY) -> Ticket | None:
        pending = self.explain(Request("POST", "/", [], body, 1.5), self.answers.append)
        assert pending is None or isinstance(pending, Ticket)
        return pending

    def works(self) -> None:
        work, done = self.work.pop(0)
        done(work())

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


def test_an_explanation_is_an_output_per_input_and_counted() -> None:
    world = World()
    world.asks()
    assert (world.answers, world.metrics.explain_inflight.value) == ([], 1)
    world.works()
    (answer,) = world.answers
    told = json.loads(answer.body)
    assert (told["id"], told["model_name"], told["model_version"]) == ("7", "m", "1f")
    assert [(one["name"], one["data"]) for one in told["outputs"]] == [("x", [6.0]), ("convergence_delta", [0.0])]
    assert (world.metrics.explain_requests[200].value, world.metrics.explain_inflight.value) == (1, 0)
    assert world.metrics.explain_seconds.total == 0.5
    assert world.deadlines[0].cancelled


def test_as_many_wait_as_may_and_the_next_is_told_to_come_back() -> None:
    world = World()
    for _ in range(4):
        world.asks()
    (refused,) = world.answers
    assert (refused.status, dict(refused.headers)[b"retry-after"]) == (429, b"1")
    assert b"2 explanations wait already" in refused.body
    world.works()
    world.asks()
    assert world.statuses == [429, 200]


def test_a_late_one_is_given_up_and_does_not_run() -> None:
    world = World()
    world.asks()
    world.deadlines[0].callback()
    assert b"The explanation was not ready within 3 seconds." in world.answers[0].body
    world.works()
    assert (world.statuses, world.ran, world.metrics.explain_inflight.value) == ([504], 0, 0)


def test_one_whose_client_has_gone_does_not_run_but_holds_its_place_until_its_turn() -> None:
    world = World()
    tickets = [world.asks() for _ in range(3)]
    assert tickets[0] is not None
    tickets[0].cancel()
    world.asks()
    assert world.statuses == [499, 429]
    world.works()
    world.asks()
    world.works()
    assert (world.statuses, world.ran) == ([499, 429, 200], 1)


def test_what_the_model_says_is_passed_on_and_what_it_breaks_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World(RequestError(400, "There is no such token."))
    world.asks()
    world.works()
    world.outcome = ValueError("secret")
    world.asks()
    world.works()
    world.asks(b"{")
    assert world.statuses == [400, 500, 400]
    assert b"There is no such token." in world.answers[0].body
    assert b"secret" not in world.answers[1].body
    assert "secret" in caplog.text
    assert world.metrics.explain_inflight.value == 0
