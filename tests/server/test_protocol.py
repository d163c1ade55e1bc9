"""The Open Inference Protocol, over real HTTP, in JSON and in binary."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_server.protocol.datatypes import DATATYPES
from server.support import BOTH_WAYS, Connection, Server, ask, column, model_directory, running

if TYPE_CHECKING:
    from collections.abc import Iterator

INFER = "/v2/models/m/infer"
JSON_LENGTH = "inference-header-content-length"


@pytest.fixture(scope="module", params=BOTH_WAYS)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve an echo with one tensor of every datatype: requests name some of the outputs."""
    tensors = [{"name": name, "datatype": name, "shape": [-1, -1]} for name in DATATYPES]
    directory = model_directory(tmp_path_factory.mktemp("models") / "all", "echo", {}, tensors, tensors)
    with running(directory, "--http", request.param, "--max-body-bytes", "100000") as server:
        yield server


def values_of(name: str) -> np.ndarray[Any, Any]:
    dtype = DATATYPES[name].dtype
    if dtype.kind == "b":
        return np.array([[True, False], [False, True]])
    if dtype.kind == "f":
        return np.array([[0.5, -1.25], [3, 1024]], dtype=dtype)
    return np.array([[0, 1], [np.iinfo(dtype).min, np.iinfo(dtype).max]], dtype=dtype)


def infer(
    server: Server, *, binary_in: set[str], binary_out: set[str], wanted: list[str], rows: int = 2
) -> tuple[Any, dict[str, bytes]]:
    """Send all inputs, ask for some outputs, split the answer."""
    inputs, tail = [], b""
    for name in DATATYPES:
        array = values_of(name)[:rows]
        tensor: dict[str, Any] = {"name": name, "datatype": name, "shape": array.shape}
        if name in binary_in:
            tail += array.tobytes()
            inputs.append({**tensor, "parameters": {"binary_data_size": array.nbytes}})
        else:
            inputs.append({**tensor, "data": array.ravel().tolist()})
    outputs = [{"name": name, "parameters": {"binary_data": name in binary_out}} for name in wanted]
    head = json.dumps({"id": "42", "inputs": inputs, "outputs": outputs}).encode()
    answer = server.post(INFER, head + tail, headers={JSON_LENGTH: str(len(head))})
    assert answer.status == 200, answer.body
    length = int(answer.headers.get(JSON_LENGTH, len(answer.body)))
    told, rest, binary = json.loads(answer.body[:length]), answer.body[length:], {}
    for output in told["outputs"]:
        if (size := output.get("parameters", {}).get("binary_data_size")) is not None:
            binary[output["name"]], rest = rest[:size], rest[size:]
    assert rest == b""
    return told, binary


FORMS = [
    (name, form_in, form_out)
    for name, datatype in DATATYPES.items()
    for form_in in ("json", "binary")
    for form_out in ("json", "binary")
    if datatype.json is not None or form_in == form_out == "binary"
]


@pytest.mark.parametrize(("name", "form_in", "form_out"), FORMS)
def test_every_datatype_passes_in_every_form(server: Server, name: str, form_in: str, form_out: str) -> None:
    binary_in = {"FP16"} | ({name} if form_in == "binary" else set())
    told, binary = infer(
        server, binary_in=binary_in, binary_out={name} if form_out == "binary" else set(), wanted=[name]
    )
    (output,) = told["outputs"]
    right = values_of(name)
    assert (told["model_name"], told["id"]) == ("m", "42")
    assert (output["name"], output["datatype"], output["shape"]) == (name, name, [2, 2])
    if form_out == "binary":
        assert binary[name] == right.tobytes()
        assert "data" not in output
    else:
        assert output["data"] == right.ravel().tolist()


def test_outputs_come_in_the_order_asked_for_with_binary_ones_after_the_json(server: Server) -> None:
    wanted = ["FP64", "INT8", "FP16", "BOOL"]
    told, binary = infer(server, binary_in={"FP16", "FP64"}, binary_out={"FP64", "FP16"}, wanted=wanted)
    assert [output["name"] for output in told["outputs"]] == wanted
    assert binary == {"FP64": values_of("FP64").tobytes(), "FP16": values_of("FP16").tobytes()}


def test_a_binary_answer_says_its_type(server: Server) -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": name, "datatype": name, "shape": [1, 1], "parameters": {"binary_data_size": dt.dtype.itemsize}}
                for name, dt in DATATYPES.items()
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    zeros = bytes(sum(dt.dtype.itemsize for dt in DATATYPES.values()))
    answer = server.post(INFER, head + zeros, headers={JSON_LENGTH: str(len(head))})
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.body[int(answer.headers[JSON_LENGTH]) :] == zeros


def test_the_model_and_the_server_describe_themselves(server: Server) -> None:
    assert server.get("/v2").json["extensions"] == ["binary_tensor_data"]
    told = server.get("/v2/models/m").json
    assert (told["name"], told["platform"]) == ("m", "pytorch_safetensors")
    assert told["inputs"] == [{"name": name, "datatype": name, "shape": [-1, -1]} for name in DATATYPES]
    (version,) = told["versions"]
    assert server.get(f"/v2/models/m/versions/{version}").json == told
    assert server.get(f"/v2/models/m/versions/{version}/ready").json["ready"] is True
    assert server.get(f"/v2/models/m/versions/{version}/infer").status == 405


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/v2/models/m/ready", 200),
        ("GET", "/v2/models/m/ready?verbose=1", 200),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/m/versions/9", 404),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("GET", INFER, 405),
        ("PUT", INFER, 405),
        ("POST", "/v2", 405),
        ("POST", "/v2/models/other/infer", 404),
    ],
)
def test_every_path_has_its_status(server: Server, method: str, path: str, status: int) -> None:
    answer = ask(server.port, method, path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert (set(answer.json) == {"error"}) == (status >= 400)


@pytest.mark.parametrize("path", ["/metrics", "/v2/health/live", "/v2/health/ready"])
def test_the_second_port_answers_probes_and_scrapes(server: Server, path: str) -> None:
    assert server.get(path, port=server.metrics_port).status == 200
    assert server.get("/v2/models/m", port=server.metrics_port).status == 404


def test_head_is_get_without_a_body(server: Server) -> None:
    answer = ask(server.port, "HEAD", "/v2")
    assert (answer.status, answer.body) == (200, b"")


def test_every_answer_names_its_pod(server: Server) -> None:
    assert server.get("/v2").headers["x-served-by"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"", {}, 400, "not an inference request"),
        (b"{}", {}, 400, "missing required field"),
        (column(1), {}, 400, "no input 'x'"),
        (b"{}", {JSON_LENGTH: "-1"}, 400, "must be a number"),
        (b"{}", {JSON_LENGTH: "3"}, 400, "only 2 bytes"),
        (b"{}", {"content-encoding": "gzip"}, 415, "compressed"),
        (b"x" * 100_001, {}, 413, "larger than the 100000 bytes"),
    ],
)
def test_a_malformed_request_is_told_its_fault(
    server: Server, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = server.post(INFER, body, headers=headers)
    assert answer.status == status
    assert said in answer.json["error"]


async def test_a_body_in_chunks_is_joined_and_limited(server: Server) -> None:
    for chunks, status in ((4, 400), (40, 413)):
        connection = await Connection.to(server.port)
        connection.send_raw(f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(chunks):
            connection.send_raw(b"1388\r\n" + b" " * 5000 + b"\r\n")
        connection.send_raw(b"0\r\n\r\n")
        assert (await connection.receive()).status == status
        await connection.close()


async def test_requests_in_a_pipeline_are_answered_in_order(server: Server) -> None:
    connection = await Connection.to(server.port)
    for path in ("/v2/models/other/infer", INFER, "/v2/models/other/infer"):
        connection.send(b"{}", path=path)
    assert [(await connection.receive()).status for _ in range(3)] == [404, 400, 404]
    await connection.close()


async def test_a_client_that_waits_for_leave_to_send_gets_it(server: Server) -> None:
    connection = await Connection.to(server.port)
    connection.send_raw(
        f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert await asyncio.wait_for(connection._reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send_raw(b"{}")
    assert (await connection.receive()).status == 400
    await connection.close()
