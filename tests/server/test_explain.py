"""Explanations over real HTTP: what they say, what is refused, and that inference does not wait for them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file

import waiting
from server.support import Answer, Connection, Server, column, echo_directory, mlp_directory, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from model_server.protocol.datatypes import Array

EXPLAIN, INFER = "/v2/models/m/explain", "/v2/models/m/infer"
ALL = "Saliency,IntegratedGradients,FeatureAblation,KernelShap"
ROWS = np.array([[1, -2, 0.5, 4], [0, 3, -1.5, 2]], np.float32)
BASELINE = np.array([0.5, 0, 1, -1], np.float32)
PAUSE_SECONDS = 0.05
ENDLESS = 1000  # steps of such a pause: whoever waits for them has failed
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Array]]:
    """Serve one layer without bends, in two processes, and tell its weights."""
    directory = mlp_directory(tmp_path_factory.mktemp("models") / "linear", 4, 3)
    with running(directory, "--explain", ALL, "--processes", "2") as server:
        yield server, load_file(directory / "weights.safetensors")["0.weight"]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve an echo whose passes take a while, and let few wait for its explanations."""
    directory = echo_directory(tmp_path_factory.mktemp("models") / "slow", pause_seconds=PAUSE_SECONDS)
    limits = ("--max-explain-queue", "1", "--explain-timeout", "1m", "--max-batch-size", "1")
    with running(directory, "--explain", "IntegratedGradients", *limits) as server:
        yield server


def body(rows: Array = ROWS, **parameters: object) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": rows.shape, "data": rows.tolist()}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


def outputs(answer: Answer) -> dict[str, Array]:
    assert answer.status == 200, answer.body
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answer.json["outputs"]}


@pytest.mark.parametrize("method", ["IntegratedGradients", "FeatureAblation", "KernelShap"])
def test_a_linear_model_is_explained_by_its_weights(linear: tuple[Server, Array], method: str) -> None:
    server, weights = linear
    found = outputs(server.post(EXPLAIN, body(method=method, target=2, baseline={"x": BASELINE.tolist()})))
    np.testing.assert_allclose(found["x"], weights[2] * (ROWS - BASELINE), atol=1e-5)


def test_saliency_of_a_linear_model_is_the_size_of_its_weights(linear: tuple[Server, Array]) -> None:
    server, weights = linear
    found = outputs(server.post(EXPLAIN, body(method="Saliency", target=1)))
    np.testing.assert_allclose(found["x"], np.abs([weights[1], weights[1]]), atol=1e-6)


def test_tensors_may_be_binary_both_ways(linear: tuple[Server, Array]) -> None:
    server, weights = linear
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": ROWS.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"target": 0, "binary_data_output": True}}).encode()
    answer = server.post(EXPLAIN, head + ROWS.tobytes(), headers={LENGTH: str(len(head))})
    length = int(answer.headers[LENGTH.lower()])
    sizes = [one["parameters"]["binary_data_size"] for one in json.loads(answer.body[:length])["outputs"]]
    assert sizes == [ROWS.nbytes, 8]
    found = np.frombuffer(answer.body[length : length + ROWS.nbytes], "<f4").reshape(2, 4)
    np.testing.assert_allclose(found, weights[0] * ROWS, atol=1e-5)


def test_what_is_explained_and_what_is_missed_add_up_to_the_difference_of_the_answers(tmp_path: Path) -> None:
    with running(mlp_directory(tmp_path / "curved", 4, 32, 32, 3), "--explain", "IntegratedGradients") as server:
        (infered,) = outputs(server.post(INFER, body(np.vstack([ROWS, BASELINE])))).values()
        for steps in (5, 200):
            asked = body(target=1, n_steps=steps, baseline={"x": BASELINE.tolist()})
            found = outputs(server.post(EXPLAIN, asked))
            sums = found["x"].sum(axis=1) - found["convergence_delta"]
            np.testing.assert_allclose(sums, infered[:2, 1] - infered[2, 1], rtol=1e-4, atol=1e-4)


def test_ways_to_explain_are_announced(linear: tuple[Server, Array]) -> None:
    server, _ = linear
    assert "explain" in server.get("/v2").json["extensions"]
    assert server.get("/v2/models/m").json["parameters"]["explain_methods"] == [
        "IntegratedGradients",
        "Saliency",
        "FeatureAblation",
        "KernelShap",
    ]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"method": "Lime", "target": 0},
            "This server does not explain by 'Lime'; it has IntegratedGradients, Saliency",
        ),
        ({"target": 3}, "parameters.target is [3]; a row of 'y' has the shape [3]."),
        ({}, "Which value of 'y', whose shape is [-1, 3]? Name its index in parameters.target."),
        ({"target": 0, "n_steps": 100_000}, "parameters.n_steps is 100000; it may be from 1 to 1000."),
    ],
)
def test_a_wrong_wish_is_told_what_to_change(
    linear: tuple[Server, Array], parameters: dict[str, object], said: str
) -> None:
    answer = linear[0].post(EXPLAIN, body(**parameters))
    assert answer.status == 400
    assert said in answer.json["error"]


def test_without_methods_there_are_no_explanations(tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "echo")) as server:
        answer = server.post(EXPLAIN, column(1))
        assert answer.status == 404
        assert "spec.explain.methods (serve --explain) makes it" in answer.json["error"]
        assert not [name for name in server.samples() if "explain" in name]


# -- beside inference


def steps(count: int) -> bytes:
    return column(1.0, parameters={"n_steps": count})


async def asking(server: Server, body: bytes) -> Connection:
    """Send a request, and wait until the server has taken it."""
    before = server.samples()["explain_inflight_requests"]
    connection = await Connection.to(server.port)
    connection.send(body, EXPLAIN)
    await until(lambda: server.samples()["explain_inflight_requests"] == before + 1)
    return connection


async def test_inference_goes_on_while_an_explanation_runs(slow: Server) -> None:
    connection = await asking(slow, steps(ENDLESS))
    for value in range(3):
        assert (await asyncio.to_thread(slow.post, INFER, column(value))).status == 200
    assert slow.samples()["explain_inflight_requests"] == 1
    await connection.close()  # which stops it
    assert (await asyncio.to_thread(slow.post, EXPLAIN, steps(1))).status == 200, "the thread is free again"


async def test_one_runs_one_waits_and_the_next_comes_back_later(slow: Server) -> None:
    gone = slow.samples()['explain_requests_total{code="499"}']
    first = await asking(slow, steps(ENDLESS))
    second = await asking(slow, steps(1))
    answer = await asyncio.to_thread(slow.post, EXPLAIN, steps(1))
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert "1 explanations wait already" in answer.json["error"]
    await first.close()  # which stops it
    assert outputs(await second.receive())["x"].tolist() == [[1]]
    await second.close()
    after = slow.samples()
    assert after['explain_requests_total{code="429"}'] == 1
    assert after['explain_requests_total{code="499"}'] == gone + 1


async def test_one_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "slow", pause_seconds=PAUSE_SECONDS)
    limits = ("--explain-timeout", "300ms", "--max-batch-size", "1")
    with running(directory, "--explain", "IntegratedGradients", *limits) as server:
        answer = await asyncio.to_thread(server.post, EXPLAIN, steps(ENDLESS))
        assert answer.status == 504
        assert answer.json["error"] == "The explanation was not ready within 0.3 seconds."
        # On a busy machine a short one may be late, too, but not each time once the thread is free.
        await asyncio.to_thread(
            waiting.until, lambda: server.post(EXPLAIN, steps(1)).status == 200, "a short one is answered again"
        )
