"""Every path answers as the protocol says, also before there is a model and without any socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server.busy_poll import BusyPoll
from model_server.errors import RequestError, UnauthorizedError
from model_server.exchange import Request, Response
from model_server.health import Health, Phase
from model_server.infer import Infer
from model_server.metrics import Metrics, Rejection
from model_server.protocol.datatypes import DATATYPES, Signature, TensorSpec
from model_server.routes import Router, guarded, loading_routes, observing_routes, serving_routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_server.batch import Outcome
    from model_server.protocol.datatypes import Arrays

SIGNATURE = Signature((TensorSpec("x", DATATYPES["FP32"], (-1, 1)),), (TensorSpec("y", DATATYPES["FP32"], (-1, 1)),))
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [3]}]}).encode()


class Now:
    """A batcher that answers at once with what it is told."""

    def __init__(self, outcome: object = None) -> None:
        self.outcome = outcome
        self.full: RequestError | None = None

    def admit(self) -> None:
        if self.full:
            raise self.full

    def submit(self, inputs: Arrays, done: Callable[[Outcome], None]) -> None:
        done(inputs if self.outcome is None else self.outcome)


def serving(metrics: Metrics, health: Health, batcher: Now | None = None) -> Router:
    infer = Infer(
        name="m",
        version="1f",
        signature=SIGNATURE,
        batcher=batcher or Now(),
        metrics=metrics,
        clock=lambda: 2.0,
        busy_poll=BusyPoll(lambda _: None, lambda: 2.0),
    )
    return serving_routes(
        name="m",
        version="1f",
        platform="p",
        signature=SIGNATURE,
        parameters={"precision": "Float32"},
        infer=infer,
        health=health,
    )


def ask(router: Router, path: str, method: str = "GET", body: bytes = b"", **more: Any) -> Response:  # noqa: ANN401
    answers: list[Response] = []
    headers = more.pop("headers", [])
    router.handle(Request(method, path, headers, body, 1.5, **more), answers.append)
    (answer,) = answers
    return answer


@pytest.fixture
def health() -> Health:
    return Health(is_alive=lambda: True, phase=Phase.READY)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(4)


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/versions/1f/infer"])
def test_an_inference_is_answered_and_counted(path: str, metrics: Metrics, health: Health) -> None:
    answer = ask(serving(metrics, health), path, "POST", BODY)
    assert answer.status == 200
    assert json.loads(answer.body)["outputs"][0]["data"] == [3]
    assert (metrics.requests[200].value, metrics.request_seconds.total, metrics.inflight.value) == (1, 0.5, 0)


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"body": b"{"}, 400, "not an inference request"),
        ({"headers": [(b"inference-header-content-length", b"-1")]}, 400, "must be a number of bytes"),
        ({"headers": [(b"inference-header-content-length", b"9" * 99)]}, 400, "must be a number of bytes"),
        ({"headers": [(b"content-encoding", b"gzip")]}, 415, "compressed ('gzip')"),
        ({"problem": RequestError(413, "too large")}, 413, "too large"),
    ],
)
def test_a_client_error_is_told_and_counted(
    request_: dict[str, Any], status: int, said: str, metrics: Metrics, health: Health
) -> None:
    answer = ask(serving(metrics, health), "/v2/models/m/infer", "POST", **{"body": BODY, **request_})
    assert answer.status == status
    assert said in json.loads(answer.body)["error"]
    assert (metrics.requests[status].value, metrics.inflight.value) == (1, 0)


def test_a_full_server_does_not_even_read_the_request(metrics: Metrics, health: Health) -> None:
    full = Now()
    full.full = RequestError(429, "full", ((b"retry-after", b"1"),))
    answer = ask(serving(metrics, health, full), "/v2/models/m/infer", "POST", b"no JSON")
    assert (answer.status, (b"retry-after", b"1") in answer.headers) == (429, True)
    assert (metrics.requests[429].value, metrics.inflight.value) == (1, 0)


def test_an_answer_that_cannot_be_encoded_is_a_500_and_is_counted(
    metrics: Metrics, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(serving(metrics, health, Now((np.array([[object()]]),))), "/v2/models/m/infer", "POST", BODY)
    assert answer.status == 500
    assert (metrics.requests[500].value, metrics.inflight.value) == (1, 0)
    assert "an answer could not be encoded" in caplog.text


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/v2", 200, {"name": "model-server", "version": "0.1.0", "extensions": ["binary_tensor_data"]}),
        ("/v2/health/live", 200, {"live": True}),
        ("/v2/health/ready", 200, {"live": True, "ready": True, "phase": "ready"}),
        ("/v2/models/m/ready", 200, {"name": "m", "ready": True}),
        ("/v2/models/m/versions/1f/ready", 200, {"name": "m", "ready": True}),
        (
            "/v2/models/m",
            200,
            {
                "name": "m",
                "versions": ["1f"],
                "platform": "p",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
                "parameters": {"precision": "Float32"},
            },
        ),
    ],
)
def test_the_protocols_descriptions(path: str, status: int, body: object, metrics: Metrics, health: Health) -> None:
    for method in ("GET", "HEAD"):
        answer = ask(serving(metrics, health), path, method)
        assert (answer.status, json.loads(answer.body)) == (status, body)


def test_unknown_paths_and_methods_are_told_what_there_is(metrics: Metrics, health: Health) -> None:
    router = serving(metrics, health)
    for path in ("/", "/v2/models/other", "/v2/models/m/versions/2", "/v2/models/m/infer/", "/metrics"):
        answer = ask(router, path)
        assert answer.status == 404
        assert "this server has the model 'm' at /v2/models/m" in json.loads(answer.body)["error"]
    answer = ask(router, "/v2/models/m/infer")
    assert (answer.status, (b"allow", b"POST") in answer.headers) == (405, True)
    assert ask(router, "/v2", "DELETE").status == 405


def test_while_loading_the_server_lives_but_is_not_ready(metrics: Metrics, health: Health) -> None:
    health.phase = Phase.LOADING
    router = loading_routes("m", health, metrics, lambda: 2.0)
    assert ask(router, "/v2/health/live").status == 200
    assert ask(router, "/v2/health/ready").status == 503
    for path in ("/v2/models/m", "/v2/models/m/ready", "/v2/models/m/versions/1f/infer"):
        assert ask(router, path).status == 503
    answer = ask(router, "/v2/models/m/infer", "POST", BODY)
    assert (answer.status, (b"retry-after", b"1") in answer.headers) == (503, True)
    assert (metrics.requests[503].value, metrics.rejected[Rejection.LOADING].value) == (1, 1)
    assert ask(router, "/v2/models/other").status == 404


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/explain", "/v2/models/m", "/nothing"])
def test_a_stranger_hears_nothing_else_whatever_it_asks(path: str, metrics: Metrics, health: Health) -> None:
    full = Now()
    full.full = RequestError(429, "full")
    for router in (serving(metrics, health, full), loading_routes("m", health, metrics, lambda: 2.0)):
        answers: list[Response] = []
        request = Request("POST", path, [], b"", 1.5, UnauthorizedError("Who are you?"))
        guarded(router.handle, metrics, lambda: 2.0)(request, answers.append)
        (answer,) = answers
        assert (answer.status, json.loads(answer.body)) == (401, {"error": "Who are you?"})
        assert (b"www-authenticate", b"Bearer") in answer.headers
    counted = 2 if path.endswith("/infer") else 0
    assert (metrics.requests[401].value, metrics.rejected[Rejection.UNAUTHORIZED].value) == (counted, counted)
    assert metrics.explain_requests[401].value == (2 if path.endswith("/explain") else 0)
    assert metrics.inflight.value == 0


def test_who_is_no_stranger_is_handed_on(metrics: Metrics, health: Health) -> None:
    answers: list[Response] = []
    handle = guarded(serving(metrics, health).handle, metrics, lambda: 2.0)
    handle(Request("POST", "/v2/models/m/infer", [], BODY, 1.5), answers.append)
    handle(Request("POST", "/v2/models/m/infer", [], b"", 1.5, RequestError(413, "too large")), answers.append)
    assert [answer.status for answer in answers] == [200, 413]


def test_while_draining_the_server_is_not_ready_but_still_answers(metrics: Metrics, health: Health) -> None:
    health.phase = Phase.DRAINING
    router = serving(metrics, health)
    assert ask(router, "/v2/health/ready").status == 503
    assert ask(router, "/v2/models/m/ready").status == 503
    assert ask(router, "/v2/health/live").status == 200
    assert ask(router, "/v2/models/m/infer", "POST", BODY).status == 200


def test_a_dead_executor_is_neither_live_nor_ready(metrics: Metrics) -> None:
    router = serving(metrics, Health(is_alive=lambda: False, phase=Phase.READY))
    assert ask(router, "/v2/health/live").status == 503
    assert ask(router, "/v2/health/ready").status == 503


def test_the_second_port_has_health_and_metrics_only(health: Health) -> None:
    router = observing_routes(health, lambda: b"text")
    assert ask(router, "/metrics").body == b"text"
    assert ask(router, "/v2/health/ready").status == 200
    assert ask(router, "/v2/models/m").status == 404


def test_a_fault_of_ours_is_a_500_without_its_details(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> bytes:
        raise ZeroDivisionError

    answer = ask(observing_routes(health, fails), "/metrics")
    assert answer.status == 500
    assert "ZeroDivisionError" in caplog.text
    assert b"ZeroDivision" not in answer.body


def test_explanations_are_announced_where_they_are_and_else_refused_with_the_way_to_have_them(
    metrics: Metrics, health: Health
) -> None:
    without = serving(metrics, health)
    answer = ask(without, "/v2/models/m/explain", "POST", BODY)
    assert answer.status == 404
    assert b"spec.explain.methods (serve --explain)" in answer.body
    assert json.loads(ask(without, "/v2").body)["extensions"] == ["binary_tensor_data"]
    router = serving_routes(
        name="m",
        version="1f",
        platform="p",
        signature=SIGNATURE,
        parameters={},
        infer=lambda _request, _reply: None,
        explain=lambda _request, reply: reply(Response(200)),
        health=health,
    )
    assert json.loads(ask(router, "/v2").body)["extensions"] == ["binary_tensor_data", "explain"]
    for path in ("/v2/models/m/explain", "/v2/models/m/versions/1f/explain"):
        assert ask(router, path, "POST", BODY).status == 200
        assert ask(router, path).status == 405
