"""Whatever a client sends: an answer, never a 500, never a dead server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from server.support import BOTH_WAYS, Server, column, echo_directory, running

if TYPE_CHECKING:
    from collections.abc import Iterator

INFER = "/v2/models/m/infer"
CASES = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module", params=BOTH_WAYS)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve a plain echo."""
    with running(
        echo_directory(tmp_path_factory.mktemp("models") / "m"), "--http", request.param, "--max-batch-size", "8"
    ) as server:
        yield server
        assert server.post(INFER, column(1)).status == 200, "it still serves"
        assert server.samples()['requests_total{code="500"}'] == 0
        assert server.samples()["inflight_requests"] == 0


def check(server: Server, body: bytes, **headers: str) -> None:
    answer = server.post(INFER, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status in (200, 400)
    told = answer.json
    assert set(told) == {"error"} if answer.status == 400 else told["model_name"] == "m"


anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
numbers = some.integers(-3, 3) | some.integers() | some.floats(allow_nan=False)
almost_tensor = some.fixed_dictionaries(
    {},
    optional={
        "name": some.just("x") | some.text(max_size=3) | anything,
        "datatype": some.sampled_from(["FP32", "FP64", "BYTES"]) | anything,
        "shape": some.lists(some.integers(-2, 9) | some.integers(), max_size=3) | anything,
        "data": some.lists(numbers | some.lists(numbers, max_size=3), max_size=9) | anything,
        "parameters": some.fixed_dictionaries({}, optional={"binary_data_size": some.integers(-9, 99) | anything})
        | anything,
    },
)
almost_request = some.fixed_dictionaries(
    {},
    optional={
        "id": some.text(max_size=5) | anything,
        "inputs": some.lists(almost_tensor, max_size=3) | anything,
        "outputs": some.lists(some.fixed_dictionaries({"name": some.sampled_from(["y", "z"])}), max_size=2) | anything,
        "parameters": some.fixed_dictionaries({}, optional={"binary_data_output": anything}) | anything,
    },
)


@CASES
@given(body=some.binary(max_size=200))
def test_any_bytes(server: Server, body: bytes) -> None:
    check(server, body)


@CASES
@given(request=almost_request)
def test_almost_requests(server: Server, request: dict[str, Any]) -> None:
    check(server, json.dumps(request).encode())


@CASES
@given(request=almost_request, tail=some.binary(max_size=40), off=some.integers(-3, 3))
def test_almost_binary_requests(server: Server, request: dict[str, Any], tail: bytes, off: int) -> None:
    head = json.dumps(request).encode()
    check(server, head + tail, inference_header_content_length=str(len(head) + off))


@CASES
@given(cut=some.integers(0, 200), flip=some.integers(0, 200), byte=some.integers(0, 255))
def test_damaged_requests(server: Server, cut: int, flip: int, byte: int) -> None:
    body = bytearray(column(1, 2, 3, id="a"))
    body[flip % len(body)] = byte
    check(server, bytes(body[: len(body) - cut]) if cut < 20 else bytes(body))
