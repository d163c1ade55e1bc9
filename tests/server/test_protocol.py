"""The Open Inference Protocol, sentence by sentence of its REST specification, in JSON and in binary, over real HTTP.

Every answer is read by the specification's own objects, strictly: no key more, none less, each of its type.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import numpy as np
import pytest

from model_server.protocol.datatypes import DATATYPES
from server.support import BOTH_WAYS, Answer, Server, ask, model_directory, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Json: TypeAlias = dict[str, Any]

INFER = "/v2/models/m/infer"
JSON_LENGTH = "inference-header-content-length"
FORMS = ("json", "binary")
MAX_BODY = 100_000


# -- the specification's objects


class Object(msgspec.Struct, forbid_unknown_fields=True):
    """What the specification writes as `$name = {...}`; an optional key has a default."""


class ServerLive(Object):
    live: bool


class ServerReady(Object):
    live: bool
    ready: bool  # beyond the specification, as other servers have it
    phase: str  # beyond the specification


class ModelReady(Object):
    name: str
    ready: bool


class MetadataServer(Object):
    name: str
    version: str
    extensions: list[str]


class MetadataTensor(Object):
    name: str
    datatype: str
    shape: list[int]


class ModelParameters(Object):
    """An addition of ours to the specification, in the place that it has for additions elsewhere."""

    precision: Literal["Float32", "BFloat16"]
    precision_reason: str
    golden_error: float | msgspec.UnsetType = msgspec.UNSET


class MetadataModel(Object):
    name: str
    versions: list[str]
    platform: str
    inputs: list[MetadataTensor]
    outputs: list[MetadataTensor]
    parameters: ModelParameters


class BinaryParameters(Object):
    binary_data_size: int


class ResponseOutput(Object):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: BinaryParameters | None = None


class InferenceResponse(Object):
    model_name: str
    model_version: str
    outputs: list[ResponseOutput]
    id: str | None = None


class Error(Object):
    error: str


def read(answer: Answer, kind: type[Any]) -> Any:  # noqa: ANN401
    """Read an answer's JSON strictly."""
    text = answer.body[: int(answer.headers.get(JSON_LENGTH, len(answer.body)))]
    return msgspec.json.decode(text, type=kind)


def arrays(answer: Answer) -> tuple[InferenceResponse, dict[str, np.ndarray[Any, Any]]]:
    """Read an inference's answer, and its tensors in either form."""
    assert answer.status == 200, answer.body
    told: InferenceResponse = read(answer, InferenceResponse)
    rest = answer.body[int(answer.headers.get(JSON_LENGTH, len(answer.body))) :]
    found = {}
    for output in told.outputs:
        dtype = DATATYPES[output.datatype].dtype
        assert (output.data is None) != (output.parameters is None)
        if output.parameters is None:
            found[output.name] = np.array(output.data, dtype).reshape(output.shape)
        else:
            size = output.parameters.binary_data_size
            found[output.name], rest = np.frombuffer(rest[:size], dtype).reshape(output.shape), rest[size:]
    assert rest == b""
    assert answer.headers["content-type"] == (
        "application/octet-stream" if JSON_LENGTH in answer.headers else "application/json"
    )
    return told, found


# -- two models: one with a tensor of every datatype, one with two inputs of fixed and free sizes


@pytest.fixture(scope="module", params=BOTH_WAYS)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve an echo with one tensor of every datatype: requests name some of the outputs."""
    tensors = [{"name": name, "datatype": name, "shape": [-1, -1]} for name in DATATYPES]
    directory = model_directory(tmp_path_factory.mktemp("models") / "all", "echo", {}, tensors, tensors)
    with running(directory, "--http", request.param) as server:
        yield server


@pytest.fixture(scope="module", params=BOTH_WAYS)
def pair(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve an echo of two tensors."""
    inputs = [{"name": "a", "datatype": "FP32", "shape": [-1, 2]}, {"name": "b", "datatype": "BOOL", "shape": [-1]}]
    outputs = [{**inputs[0], "name": "c"}, {**inputs[1], "name": "d"}]
    directory = model_directory(tmp_path_factory.mktemp("models") / "pair", "echo", {}, inputs, outputs)
    limits = ("--max-batch-size", "4", "--max-body-bytes", str(MAX_BODY))
    with running(directory, "--http", request.param, *limits) as server:
        yield server
        assert server.samples()['requests_total{code="500"}'] == 0


def good() -> Json:
    """Make a request that the pair answers."""
    a = {"name": "a", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
    return {"id": "42", "inputs": [a, {"name": "b", "datatype": "BOOL", "shape": [2], "data": [True, False]}]}


def written(request: Json, form: str) -> tuple[bytes, dict[str, str]]:
    """Write a request in one form: body and headers."""
    if form == "json":
        return json.dumps(request).encode(), {"content-type": "application/json"}
    tail, inputs = b"", []
    for tensor in request["inputs"]:
        datatype = DATATYPES.get(tensor["datatype"], DATATYPES["UINT8"])
        piece = np.array(tensor["data"], datatype.dtype).tobytes()
        rest = {key: value for key, value in tensor.items() if key != "data"}
        inputs.append({**rest, "parameters": {"binary_data_size": len(piece), **tensor.get("parameters", {})}})
        tail += piece
    head = json.dumps({**request, "inputs": inputs}).encode()
    return head + tail, {"content-type": "application/octet-stream", JSON_LENGTH: str(len(head))}


def send(server: Server, request: Json, form: str, path: str = INFER) -> Answer:
    body, headers = written(request, form)
    return server.post(path, body, headers=headers)


# -- endpoints


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2", MetadataServer),
        ("/v2/health/live", ServerLive),
        ("/v2/health/ready", ServerReady),
        ("/v2/models/m", MetadataModel),
        ("/v2/models/m/ready", ModelReady),
        ("/v2/models/m/versions/{version}", MetadataModel),
        ("/v2/models/m/versions/{version}/ready", ModelReady),
        ("/v2/models/m/ready?verbose=1", ModelReady),
    ],
)
def test_every_endpoint_answers_with_its_object(pair: Server, path: str, kind: type[Any]) -> None:
    path = path.format(version=read(pair.get("/v2/models/m"), MetadataModel).versions[0])
    answer = pair.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    told = read(answer, kind)
    assert getattr(told, "ready", True) is True
    assert getattr(told, "live", True) is True
    assert getattr(told, "name", "m") in ("m", "model-server")
    head = ask(pair.port, "HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == answer.headers["content-length"]


def test_the_metadata_name_every_tensor_and_the_extension(pair: Server) -> None:
    told = read(pair.get("/v2/models/m"), MetadataModel)
    assert told.platform == "pytorch_safetensors"
    assert [(each.name, each.datatype, each.shape) for each in (*told.inputs, *told.outputs)] == [
        ("a", "FP32", [-1, 2]),
        ("b", "BOOL", [-1]),
        ("c", "FP32", [-1, 2]),
        ("d", "BOOL", [-1]),
    ]
    assert "binary_tensor_data" in read(pair.get("/v2"), MetadataServer).extensions


def test_the_model_is_inferred_with_and_without_its_version(pair: Server) -> None:
    (version,) = read(pair.get("/v2/models/m"), MetadataModel).versions
    for path in (INFER, f"/v2/models/m/versions/{version}/infer"):
        told, _ = arrays(send(pair, good(), "json", path))
        assert (told.model_name, told.model_version) == ("m", version)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/m/versions/9", 404),
        ("GET", "/v2/models/m/versions/9/ready", 404),
        ("POST", "/v2/models/m/versions/9/infer", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/", 404),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("GET", INFER, 405),
        ("PUT", INFER, 405),
        ("DELETE", "/v2/models/m", 405),
        ("POST", "/v2", 405),
        ("POST", "/v2/health/live", 405),
        ("POST", "/v2/models/m/ready", 405),
    ],
)
def test_every_other_path_and_method_is_an_error_object(pair: Server, method: str, path: str, status: int) -> None:
    answer = ask(pair.port, method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert read(answer, Error).error.endswith(".")
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/metrics", "/v2/health/live", "/v2/health/ready"])
def test_the_second_port_answers_probes_and_scrapes(pair: Server, path: str) -> None:
    assert pair.get(path, port=pair.metrics_port).status == 200
    assert pair.get("/v2/models/m", port=pair.metrics_port).status == 404


def test_every_answer_names_its_pod(pair: Server) -> None:
    assert pair.get("/v2").headers["x-served-by"]
    assert send(pair, good(), "json").headers["x-served-by"]


# -- datatypes


def values_of(name: str) -> np.ndarray[Any, Any]:
    dtype = DATATYPES[name].dtype
    if dtype.kind == "b":
        return np.array([[True, False], [False, True]])
    if dtype.kind == "f":
        return np.array([[0.5, -1.25], [np.finfo(dtype).min, np.finfo(dtype).max]], dtype=dtype)
    return np.array([[0, 1], [np.iinfo(dtype).min, np.iinfo(dtype).max]], dtype=dtype)


@pytest.mark.parametrize(
    ("name", "form_in", "form_out"),
    [
        (name, form_in, form_out)
        for name, datatype in DATATYPES.items()
        for form_in in FORMS
        for form_out in FORMS
        if datatype.json is not None or form_in == form_out == "binary"
    ],
)
def test_every_datatype_passes_in_every_form(server: Server, name: str, form_in: str, form_out: str) -> None:
    inputs, tail = [], b""
    for each in DATATYPES:
        array = values_of(each)
        tensor: Json = {"name": each, "datatype": each, "shape": array.shape}
        if each == "FP16" or (each == name and form_in == "binary"):
            tail += array.tobytes()
            inputs.append({**tensor, "parameters": {"binary_data_size": array.nbytes}})
        else:
            inputs.append({**tensor, "data": array.ravel().tolist()})
    outputs = [{"name": name, "parameters": {"binary_data": form_out == "binary"}}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    answer = server.post(INFER, head + tail, headers={JSON_LENGTH: str(len(head))})
    told, found = arrays(answer)
    assert [(each.name, each.datatype, each.shape) for each in told.outputs] == [(name, name, [2, 2])]
    assert (told.outputs[0].parameters is not None) == (form_out == "binary")
    assert found[name].tobytes() == values_of(name).tobytes()


def test_the_specifications_datatypes_are_those_of_the_server() -> None:
    integers = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
    assert set(DATATYPES) == {"BOOL", "FP16", "FP32", "FP64"} | integers, (
        "all but BYTES, which no tensor of torch holds"
    )


# -- what a client may choose


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("more", "wanted", "binary"),
    [
        ({}, ["c", "d"], []),
        ({"outputs": []}, ["c", "d"], []),
        ({"outputs": [{"name": "d"}]}, ["d"], []),
        ({"outputs": [{"name": "d"}, {"name": "c"}]}, ["d", "c"], []),
        ({"outputs": [{"name": "c", "parameters": {"binary_data": True}}, {"name": "d"}]}, ["c", "d"], ["c"]),
        ({"outputs": [{"name": "c", "parameters": {"classification": 0}}]}, ["c"], []),
        ({"parameters": {"binary_data_output": True}}, ["c", "d"], ["c", "d"]),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "d", "parameters": {"binary_data": False}}, {"name": "c"}],
            },
            ["d", "c"],
            ["c"],
        ),
        ({"parameters": {"priority": 1, "anything": "else"}}, ["c", "d"], []),
        ({"id": ""}, ["c", "d"], []),
        ({"id": 'quotes " and \u20ac'}, ["c", "d"], []),
        ({"unknown": {"to": "us"}}, ["c", "d"], []),
    ],
)
def test_outputs_come_as_asked_for(pair: Server, form: str, more: Json, wanted: list[str], binary: list[str]) -> None:
    request = {**good(), **more}
    told, found = arrays(send(pair, request, form))
    assert told.id == (request["id"] or None)
    assert [output.name for output in told.outputs] == wanted
    assert [output.name for output in told.outputs if output.parameters is not None] == binary
    right = {"c": [[1, 2], [3, 4]], "d": [True, False]}
    assert {name: array.tolist() for name, array in found.items()} == {name: right[name] for name in wanted}


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[1.0, 2e0], [3, 4]]])
def test_json_data_is_flat_or_nested(pair: Server, data: list[Any]) -> None:
    request = good()
    request["inputs"][0]["data"] = data
    assert arrays(send(pair, request, "json"))[1]["c"].tolist() == [[1, 2], [3, 4]]


def test_forms_may_be_mixed_in_a_request(pair: Server) -> None:
    a, b = good()["inputs"]
    b = {"name": "b", "datatype": "BOOL", "shape": [2], "parameters": {"binary_data_size": 2}}
    head = json.dumps({"inputs": [b, a]}).encode()
    _, found = arrays(pair.post(INFER, head + b"\x00\x01", headers={JSON_LENGTH: str(len(head))}))
    assert (found["c"].tolist(), found["d"].tolist()) == ([[1, 2], [3, 4]], [False, True])


# -- errors: each a change of a good request, and what is said about it


def change(**tensor: object) -> Callable[[Json], object]:
    """Change keys of the first input."""
    return lambda request: request["inputs"][0].update(tensor)


def add(**more: object) -> Callable[[Json], object]:
    """Add keys to the request."""
    return lambda request: request.update(more)


def give_twice(request: Json) -> None:
    request["inputs"].append(request["inputs"][0])


def of_rows(rows: int) -> Callable[[Json], object]:
    def take(request: Json) -> None:
        a, b = request["inputs"]
        a.update(shape=[rows, 2], data=[1, 2] * rows)
        b.update(shape=[rows], data=[True] * rows)

    return take


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (add(id=7), "Expected `str`, got `int` - at `$.id`"),
        (add(parameters=[]), "at `$.parameters`"),
        (add(outputs={}), "at `$.outputs`"),
        (add(outputs=[{}]), "missing required field `name`"),
        (add(outputs=[{"name": "z"}]), "no output 'z'; it has 'c', 'd'"),
        (add(outputs=[{"name": "c"}, {"name": "c"}]), "names an output twice"),
        (add(outputs=[{"name": "c", "parameters": {"binary_data": "yes"}}]), "binary_data"),
        (lambda request: request["inputs"].pop(), "The request lacks 'b'"),
        (lambda request: request["inputs"].clear(), "The request lacks 'a', 'b'"),
        (lambda request: request["inputs"][0].pop("shape"), "missing required field `shape`"),
        (give_twice, "Input 'a' is given twice"),
        (change(name="z"), "no input 'z'; it has 'a', 'b'"),
        (change(name=None), "at `$.inputs[0].name`"),
        (change(datatype="FP64"), "datatype 'FP64'; the model takes FP32"),
        (change(datatype="BYTES", data=[1]), "datatype 'BYTES'; the model takes FP32"),
        (change(datatype="fp32"), "datatype 'fp32'; the model takes FP32"),
        (change(shape=[4]), "shape [4]; the model takes [-1, 2]"),
        (change(shape=[2, 2, 1]), "shape [2, 2, 1]; the model takes [-1, 2]"),
        (change(shape=[1, 4]), "shape [1, 4]; the model takes [-1, 2]"),
        (change(shape=[0, 2], data=[]), "every size must be at least 1"),
        (change(shape=[-2, 2]), "every size must be at least 1"),
        (change(shape=[2.5, 2]), "Expected `int`, got `float`"),
        (change(shape="2"), "at `$.inputs[0].shape`"),
        (change(shape=[1, 2], data=[1, 2]), "same number of rows; these have [1, 2]"),
        (of_rows(5), "has 5 rows; this server takes at most 4"),
        (change(shape=[2**63, 2]), f"{2**63}"),
        (change(shape=[3, 2]), "its shape [3, 2]"),
    ],
)
def test_a_broken_request_is_told_its_fault_in_either_form(
    pair: Server, form: str, broken: Callable[[Json], object], said: str
) -> None:
    request = good()
    broken(request)
    refused(send(pair, request, form), 400, said)
    assert send(pair, good(), form).status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not an inference request"),
        (b"{}", "missing required field `inputs`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'{"inputs": [', "not an inference request"),
        (b'{"inputs": "\xff"}', "not an inference request"),
        (b"\xef\xbb\xbf{}", "not an inference request"),
        (b"[" * 50_000, "not an inference request"),
        (written(good(), "json")[0] + b"x", "trailing characters"),
        *(
            (written(good(), "json")[0].replace(b"[1, 2, 3, 4]", data), said)
            for data, said in [
                (b"[1, 2, 3, NaN]", "not an inference request"),
                (b"[1, 2, 3, 1e999]", "FP32"),
                (b"[1, 2, 3, 1e39]", "outside the range of FP32"),
                (b'[1, 2, 3, "4"]', "Expected `float`, got `str`"),
                (b"[1, 2, 3, true]", "Expected `float`, got `bool`"),
                (b"[1, 2, 3, null]", "Expected `float`, got `null`"),
                (b"[1, 2, 3]", "has 3 values; its shape [2, 2] holds 4"),
                (b"[[1, 2], [3]]", "rows differ in length"),
                (b"[[1], [2], [3], [4]]", "has data of the shape [4, 1], but says [2, 2]"),
                (b"[[[1, 2], [3, 4]]]", "nested 3 deep"),
                (b"7", "nested 0 deep"),
                (b'"AAAA"', "nested 0 deep"),
                (b'[1, 2, 3, 4], "parameters": {"binary_data_size": 16}', "both data and the parameter"),
                (b'[1, 2, 3, 4], "parameters": {"binary_data_size": -1}', "binary_data_size"),
            ]
        ),
    ],
)
def test_broken_json_is_told_its_fault(pair: Server, body: bytes, said: str) -> None:
    refused(pair.post(INFER, body), 400, said)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ("-1", "must be a number of bytes"),
        ("", "must be a number of bytes"),
        ("0x10", "must be a number of bytes"),
        ("9" * 99, "must be a number of bytes"),
        ("999999", "the body has only"),
        ("0", "not an inference request"),
        ("7", "not an inference request"),
    ],
)
def test_a_wrong_length_of_the_json_is_told(pair: Server, length: str, said: str) -> None:
    body, headers = written(good(), "binary")
    refused(pair.post(INFER, body, headers={**headers, JSON_LENGTH: length}), 400, said)


@pytest.mark.parametrize(
    ("sizes", "tail", "said"),
    [
        ((16, 2), 17 * b"\0", "needs 2 bytes after the JSON; only 1 are left"),
        ((16, 2), 19 * b"\0", "19 bytes follow the JSON, but the inputs' binary_data_size add up to 18"),
        ((15, 2), 17 * b"\0", "binary_data_size 15; its shape [2, 2] takes 16 bytes"),
        ((-16, 2), 18 * b"\0", "binary_data_size -16"),
        (("16", 2), 18 * b"\0", "Expected `int | null`, got `str`"),
        ((2**70, 2), 18 * b"\0", "takes 16 bytes"),
        ((16, 2), 17 * b"\0" + b"\2", "each of its bytes must be 0 or 1"),
        ((None, 2), 18 * b"\0", "neither data nor the parameter binary_data_size"),
    ],
)
def test_broken_binary_is_told_its_fault(pair: Server, sizes: tuple[Any, Any], tail: bytes, said: str) -> None:
    inputs = [
        {"name": each["name"], "datatype": each["datatype"], "shape": each["shape"]}
        | ({} if size is None else {"parameters": {"binary_data_size": size}})
        for each, size in zip(good()["inputs"], sizes, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    refused(pair.post(INFER, head + tail, headers={JSON_LENGTH: str(len(head))}), 400, said)


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"{}", {"content-encoding": "gzip"}, 415, "compressed ('gzip')"),
        (b"x" * (MAX_BODY + 1), {}, 413, f"larger than the {MAX_BODY} bytes"),
        (b"{}", {"cookie": "y" * 70_000}, 431, "head is larger than"),
    ],
)
def test_what_http_can_say_is_said_by_its_status(
    pair: Server, body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    refused(pair.post(INFER, body, headers=headers), status, said)


def test_an_fp16_tensor_has_no_json_form_in_either_direction(server: Server) -> None:
    tensor = {"name": "FP16", "datatype": "FP16", "shape": [1, 1], "data": [1]}
    refused(server.post(INFER, json.dumps({"inputs": [tensor]}).encode()), 400, "FP16, which has no JSON form")
    zeros = [
        {"name": name, "datatype": name, "shape": [1, 1], "parameters": {"binary_data_size": dt.dtype.itemsize}}
        for name, dt in DATATYPES.items()
    ]
    head, tail = json.dumps({"inputs": zeros}).encode(), bytes(sum(dt.dtype.itemsize for dt in DATATYPES.values()))
    refused(server.post(INFER, head + tail, headers={JSON_LENGTH: str(len(head))}), 400, "ask for binary_data")


def refused(answer: Answer, status: int, said: str) -> None:
    """See that an answer is an error object that says so."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer.body
    error = read(answer, Error).error
    assert said in error
    assert error.endswith("."), "an error is a sentence"
